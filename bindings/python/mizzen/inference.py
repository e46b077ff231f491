"""Run ONNX models.

    session = Session("model.onnx", threads=2)
    outputs = session.run({"pixels": pixels})     # {name: ndarray}

Where the time goes:

    profile = Profile()
    session.run({"pixels": pixels}, profile=profile)
    print(profile)                                # per operator and per node
    profile.write_trace("trace.json")             # for ui.perfetto.dev

Into arrays of your own, run after run without an allocation of the engine:

    scores = np.empty((1, 10), np.float32)
    session.run({"pixels": pixels}, {"scores": scores})

In a coroutine, by threads of the session:

    outputs = await session.run_async({"pixels": pixels})

On a GPU, tensors that are there (torch, CuPy, anything with DLPack) go in without a copy, and outputs may stay there:

    session = Session("model.onnx", device="cuda:0", gpu=GpuOptions(math="float16"))
    scores = session.run({"pixels": cuda_tensor}, outputs_on_device=True)["scores"]
    torch.from_dlpack(scores)

Arrays go in without a copy where they are contiguous, and come out without one. Anything that NumPy
can view (a torch tensor on the CPU, anything with DLPack) may go in; lists take the type that the model declares. run()
releases the GIL, and may be called from several threads at once. Errors are mizzen.Error.
"""
from ._mizzen.inference import (DeviceInfo, DeviceTensor, GpuOptions, NodeTime, OperatorTime, Profile, Session,
                                ValueInfo, WeightCache, devices, to_device)

for _class in (DeviceInfo, DeviceTensor, GpuOptions, NodeTime, OperatorTime, Profile, Session, ValueInfo, WeightCache):
    _class.__module__ = __name__

__all__ = ["DeviceInfo", "DeviceTensor", "GpuOptions", "NodeTime", "OperatorTime", "Profile", "Session",
           "ValueInfo", "WeightCache", "devices", "to_device"]
