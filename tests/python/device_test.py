"""Tensors in a GPU's memory, by DLPack; on the emulated GPU of the tests, or a real one."""
import models
import mizzen
import numpy as np
import pytest
from mizzen.inference import DeviceTensor, GpuOptions, Session, devices, to_device

if not any(d.name == "cuda:0" and d.available for d in devices()):
    pytest.skip("no GPU, not even an emulated one", allow_module_level=True)

PIXELS = np.random.default_rng(1).normal(size=(5, 16)).astype(np.float32)


class Foreign:
    """A tensor of another library: with DLPack 1, or from before it."""

    def __init__(self, held: DeviceTensor, old: bool):
        self.held, self.old, self.streams = held, old, []

    def __dlpack_device__(self):
        return self.held.__dlpack_device__()

    def __dlpack__(self, *, stream=None, **others):
        if self.old and others:
            raise TypeError("unexpected argument")
        self.streams.append(stream)
        return self.held.__dlpack__(stream=stream, **others)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("old", [False, True])
def test_goes_in_and_comes_out_where_it_is(old):
    expected = Session(models.classifier()).run({"pixels": PIXELS})["scores"]
    session = Session(models.classifier(), device="cuda:0", gpu=GpuOptions(cache=""))
    given = Foreign(to_device(PIXELS, "cuda:0"), old)
    for _ in range(3):
        close(session.run({"pixels": given})["scores"], expected)
    assert given.streams == [1, 1, 1]
    kept = session.run({"pixels": given}, outputs_on_device=True)["scores"]
    assert (kept.dtype, kept.shape, kept.device) == ("float32", (5, 10), "cuda:0")
    close(kept.numpy(), expected)
    close(session.run({"pixels": given}, outputs_on_device=True, stream=1)["scores"].numpy(), expected)
    target = Foreign(to_device(np.zeros((5, 10), np.float32), "cuda:0"), old)
    assert session.run({"pixels": PIXELS}, {"scores": target})["scores"] is target
    close(target.held.numpy(), expected)


def test_hands_tensors_to_others():
    np.testing.assert_array_equal(np.from_dlpack(to_device(PIXELS, "cpu")), PIXELS)
    there = to_device(PIXELS, "cuda:0")
    assert there.__dlpack_device__() == (2, 0)
    there.__dlpack__()  # nobody takes it
    np.testing.assert_array_equal(np.from_dlpack(there, device="cpu"), PIXELS)


def test_refuses():
    with pytest.raises(mizzen.Error, match="in the memory of cuda:0"):
        Session(models.classifier()).run({"pixels": to_device(PIXELS, "cuda:0")})
    with pytest.raises(ValueError, match="math"):
        GpuOptions(math="int3")
