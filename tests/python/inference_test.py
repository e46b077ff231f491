import asyncio
import json
import os
import pathlib
import pickle
import subprocess
import sys
import threading
import time

import mizzen
import ml_dtypes
import models
import numpy as np
import onnxruntime
import pytest
from mizzen.inference import Profile, Session, WeightCache
from onnx import TensorProto

PIXELS = np.random.default_rng(1).normal(size=(5, 16)).astype(np.float32)


def reference(model: bytes, inputs: dict) -> list:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, inputs)


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(models.classifier())


@pytest.mark.parametrize("threads", [1, 2, 0])
@pytest.mark.parametrize("optimize", [True, False])
def test_same_as_onnx_runtime(threads, optimize):
    session = Session(models.classifier(), device="cpu", threads=threads, optimize=optimize)
    for batch in (1, 5, 64):
        pixels = np.random.default_rng(batch).normal(size=(batch, 16)).astype(np.float32)
        scores, hidden = reference(models.classifier(), {"pixels": pixels})
        outputs = session.run({"pixels": pixels})
        assert list(outputs) == ["scores", "hidden"]
        np.testing.assert_allclose(outputs["scores"], scores, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(outputs["hidden"], hidden, rtol=1e-5, atol=1e-5)


def test_computes_in_bfloat16_where_allowed():
    session = Session(models.classifier(), inference_precision="bfloat16")
    scores, _ = reference(models.classifier(), {"pixels": PIXELS})
    np.testing.assert_allclose(session.run({"pixels": PIXELS})["scores"], scores, atol=0.03)
    with pytest.raises(ValueError, match="inference_precision"):
        Session(models.classifier(), inference_precision="float16")


def test_describes_inputs_and_outputs(session):
    [pixels] = session.inputs
    assert (pixels.name, pixels.dtype, pixels.shape) == ("pixels", "float32", ("batch", 16))
    assert [(o.name, o.dtype, o.shape) for o in session.outputs] == [
        ("scores", "float32", ("batch", 10)),
        ("hidden", "float32", ("batch", 32)),
    ]
    assert "float32[batch, 16]" in repr(pixels)
    [x] = Session(models.identity(TensorProto.INT64)).inputs
    assert (x.dtype, x.shape) == ("int64", (None, None))


def test_loads_from_a_path_and_from_buffers(session, tmp_path):
    expected = session.run({"pixels": PIXELS})["scores"]
    path = tmp_path / "modèle.onnx"
    path.write_bytes(models.classifier())
    for model in (path, str(path), bytearray(models.classifier()), memoryview(models.classifier())):
        np.testing.assert_array_equal(Session(model).run({"pixels": PIXELS})["scores"], expected)


def test_writes_into_given_arrays(session):
    expected = session.run({"pixels": PIXELS})
    scores = np.empty_like(expected["scores"])
    for pixels in (PIXELS + 1, PIXELS):
        outputs = session.run({"pixels": pixels}, {"scores": scores})
        assert list(outputs) == ["scores"] and outputs["scores"] is scores
    np.testing.assert_array_equal(scores, expected["scores"])
    row = np.empty((2, *scores.shape), np.float32)[1]
    session.run({"pixels": PIXELS}, outputs={"scores": row})
    np.testing.assert_array_equal(row, expected["scores"])


@pytest.mark.parametrize("target, message", [
    (np.empty((5, 3), np.float32), "the model makes float32"),
    (np.empty((5, 10), np.float64), "the model makes float32"),
    (np.empty((10, 5), np.float32).T, "contiguous"),
    (np.broadcast_to(np.float32(0), (5, 10)), "contiguous"),
    (np.empty((5, 10), object), "cannot write into an array of object"),
    ([1, 2], "NumPy arrays only"),
])
def test_refuses_arrays_that_do_not_fit(session, target, message):
    with pytest.raises(mizzen.Error, match=message) as caught:
        session.run({"pixels": PIXELS}, {"scores": target})
    assert "scores" in caught.value.subject
    read_only = np.empty((5, 10), np.float32)
    read_only.flags.writeable = False
    with pytest.raises(mizzen.Error, match="read-only"):
        session.run({"pixels": PIXELS}, {"scores": read_only})


def test_takes_dlpack(session):
    class Capsule:
        def __dlpack__(self, **options):
            return PIXELS.__dlpack__(**options)

        def __dlpack_device__(self):
            return PIXELS.__dlpack_device__()

    outputs = session.run({"pixels": Capsule()})
    np.testing.assert_array_equal(outputs["scores"], session.run({"pixels": PIXELS})["scores"])


def test_shares_weights_and_releases_memory():
    weights = WeightCache()
    sessions = [Session(models.classifier(hidden=256), weights=weights) for _ in range(2)]
    first, second = (each.run({"pixels": PIXELS})["scores"] for each in sessions)
    np.testing.assert_array_equal(first, second)
    assert weights.hits == len(weights) > 0
    sessions[0].release_memory()
    np.testing.assert_array_equal(sessions[0].run({"pixels": PIXELS})["scores"], first)


def test_gives_only_the_outputs_asked_for(session):
    outputs = session.run({"pixels": PIXELS}, ["hidden"])
    assert list(outputs) == ["hidden"]
    with pytest.raises(mizzen.Error) as caught:
        session.run({"pixels": PIXELS}, ["nonsense"])
    assert caught.value.code in ("invalid_argument", "not_found")
    assert "nonsense" in str(caught.value)


TYPES = [
    (TensorProto.FLOAT, np.float32),
    (TensorProto.DOUBLE, np.float64),
    (TensorProto.FLOAT16, np.float16),
    (TensorProto.BFLOAT16, ml_dtypes.bfloat16),
    (TensorProto.INT8, np.int8),
    (TensorProto.INT16, np.int16),
    (TensorProto.INT32, np.int32),
    (TensorProto.INT64, np.int64),
    (TensorProto.UINT8, np.uint8),
    (TensorProto.UINT16, np.uint16),
    (TensorProto.UINT32, np.uint32),
    (TensorProto.UINT64, np.uint64),
    (TensorProto.BOOL, np.bool_),
]


@pytest.mark.parametrize("element_type,dtype", TYPES, ids=lambda v: getattr(v, "__name__", ""))
def test_every_type_goes_through(element_type, dtype):
    session = Session(models.identity(element_type))
    values = np.arange(12).reshape(3, 4).astype(dtype)
    for x in (
        values,
        values.T,  # other order
        values[::-1, ::2],  # gaps, backwards
        values[:, :0],  # nothing
        np.frombuffer(b"\0" + values.tobytes(), np.uint8)[1:].view(dtype).reshape(3, 4),  # misaligned
    ):
        y = session.run({"x": x})["y"]
        assert y.dtype == dtype
        assert y.shape == x.shape
        np.testing.assert_array_equal(y, x)


def test_strings_go_through():
    session = Session(models.identity(TensorProto.STRING))
    assert session.inputs[0].dtype == "string"
    texts = [["", "a", "größer"], ["日本", "nul\0inside", "x" * 1000]]
    for x in (np.array(texts, dtype=object), texts):
        y = session.run({"x": x})["y"]
        assert y.dtype == object
        assert y.tolist() == texts
    assert session.run({"x": np.array([["ab", "c"]])})["y"].tolist() == [["ab", "c"]]
    # Bytes that are no text come back as Python's own notation for them, and go in again the same.
    y = session.run({"x": np.array([[b"\xff\xfe", b"ok"]], dtype=object)})["y"]
    assert [os.fsencode(t) for t in y[0]] == [b"\xff\xfe", b"ok"]
    np.testing.assert_array_equal(session.run({"x": y})["y"], y)
    with pytest.raises(mizzen.Error, match=r"inputs\['x'\].*element 1 is a float") as caught:
        session.run({"x": np.array([["a", 1.5]], dtype=object)})
    assert caught.value.code == "invalid_argument"


def test_sequences_are_lists():
    session = Session(models.longer_sequence())
    assert [each.kind for each in session.inputs] == ["sequence", "tensor"]
    parts = [np.arange(3, dtype=np.float32), np.ones(1, np.float32)]
    got = session.run({"parts": parts, "x": np.zeros(2, np.float32)})
    assert [each.tolist() for each in got["longer"]] == [[0, 1, 2], [1], [0, 0]]
    assert got["all"].tolist() == [0, 1, 2, 1, 0, 0]
    assert session.run({"parts": (), "x": [5]}, ["all"])["all"].tolist() == [5]
    for wrong in (None, parts[0].astype(np.float64)):
        with pytest.raises(mizzen.Error, match="parts"):
            session.run({"parts": wrong, "x": np.zeros(2, np.float32)})
    with pytest.raises(mizzen.Error, match="no such output"):
        session.run({"parts": parts, "x": [5]}, ["none"])


def test_optionals_may_be_none():
    session = Session(models.optional_or_zero())
    assert session.inputs[0].kind == "optional_tensor"
    assert session.run({"x": [1, 2]})["y"].tolist() == [1, 2]
    assert session.run({"x": None})["y"].tolist() == [0]
    assert session.run({})["y"].tolist() == [0]


def test_functions_are_expanded():
    x = np.array([1, -2, 3], np.float32)
    model = models.with_functions()
    for optimize in (True, False):
        # scaled(x) = x * scale + shift, the scale from the call or its default of 3; the other one
        # calls it twice, and picks by a branch within its body.
        got = Session(model, optimize=optimize).run({"x": x, "twice": np.array(True)})
        np.testing.assert_array_equal(got["y"], x * 2 + 1)
        np.testing.assert_array_equal(got["z"], (x * 3 + 1) * 3 + 1)
        got = Session(model, optimize=optimize).run({"x": x, "twice": np.array(False)})
        np.testing.assert_array_equal(got["z"], x * 3 + 1)
    with pytest.raises(mizzen.Error, match="calls itself"):
        Session(models.recursive())


def test_foreign_byte_order_and_scalars():
    x = np.arange(6, dtype=">f4").reshape(2, 3)
    y = Session(models.identity(TensorProto.FLOAT)).run({"x": x})["y"]
    assert y.dtype == np.float32 and y.dtype.isnative
    np.testing.assert_array_equal(y, x)
    scalar = Session(models.identity(TensorProto.INT64, rank=0))
    for x in (np.array(41, dtype=np.int64), np.int64(41), 41):
        y = scalar.run({"x": x})["y"]
        assert y.shape == () and y == 41


def test_lists_take_the_declared_type(session):
    lists = PIXELS.tolist()
    np.testing.assert_array_equal(
        session.run({"pixels": lists})["scores"], session.run({"pixels": PIXELS})["scores"]
    )


def test_results_own_their_memory(session):
    kept = session.run({"pixels": PIXELS})["scores"]
    before = kept.copy()
    for seed in range(20):
        session.run({"pixels": np.full((5, 16), seed, np.float32)})
    np.testing.assert_array_equal(kept, before)
    kept[:] = 0
    np.testing.assert_array_equal(session.run({"pixels": PIXELS})["scores"], before)
    outlives = Session(models.classifier())
    result = outlives.run({"pixels": PIXELS})["scores"]
    del outlives
    np.testing.assert_array_equal(result, before)


def test_inputs_are_left_alone(session):
    pixels = PIXELS.copy()
    pixels.flags.writeable = False
    session.run({"pixels": pixels})
    np.testing.assert_array_equal(pixels, PIXELS)
    x = np.arange(4, dtype=np.float32).reshape(2, 2)
    y = Session(models.identity(TensorProto.FLOAT)).run({"x": x})["y"]
    y[:] = -1
    np.testing.assert_array_equal(x, [[0, 1], [2, 3]])


@pytest.mark.parametrize(
    "inputs,code,words",
    [
        ({}, "invalid_argument", "pixels"),
        ({"pixels": PIXELS, "more": PIXELS}, "invalid_argument", "more"),
        ({"pixels": PIXELS.astype(np.float64)}, "invalid_argument", "pixels"),
        ({"pixels": PIXELS[:, :15]}, "invalid_argument", "pixels"),
        ({"pixels": PIXELS[0]}, "invalid_argument", "pixels"),
        ({"pixels": PIXELS.astype("datetime64[s]")}, "invalid_argument", "pixels"),
    ],
    ids=["missing", "unknown", "type", "shape", "rank", "dtype"],
)
def test_wrong_input_is_named(session, inputs, code, words):
    with pytest.raises(mizzen.Error) as caught:
        session.run(inputs)
    assert caught.value.code == code
    assert words in str(caught.value)
    # The session goes on.
    assert session.run({"pixels": PIXELS})["scores"].shape == (5, 10)


def test_models_that_cannot_be_loaded(tmp_path):
    with pytest.raises(mizzen.Error) as caught:
        Session(tmp_path / "absent.onnx")
    assert caught.value.code == "not_found"
    assert "absent.onnx" in str(caught.value)
    model = models.classifier()
    for damaged in (b"", b"no model at all", model[: len(model) // 2]):
        with pytest.raises(mizzen.Error) as caught:
            Session(damaged)
        assert caught.value.code in ("invalid_argument", "data_loss")
        assert caught.value.subject
    with pytest.raises(mizzen.Error) as caught:
        Session(model, device="abacus:0")
    assert "abacus" in str(caught.value)
    with pytest.raises(mizzen.Error) as caught:
        Session(model, memory_limit=16)
    assert caught.value.code == "resource_exhausted"
    with pytest.raises((TypeError, RuntimeError)):
        Session(None)


def test_errors_are_values():
    error = mizzen.Error("not_found", "field", "gone")
    again = pickle.loads(pickle.dumps(error))
    assert (again.code, again.subject, again.message, str(again)) == (
        "not_found", "field", "gone", "field: gone")


def test_devices_say_why_not():
    devices = {device.name: device for device in mizzen.inference.devices()}
    assert devices["cpu"].available
    for device in devices.values():
        assert device.available != bool(device.reason)


def test_several_threads_on_one_session(session):
    expected = {n: session.run({"pixels": np.full((n, 16), n, np.float32)})["scores"] for n in (1, 2, 3, 4)}
    wrong = []

    def work(n: int) -> None:
        pixels = np.full((n, 16), n, np.float32)
        for _ in range(50):
            if not np.array_equal(session.run({"pixels": pixels})["scores"], expected[n]):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_other_threads_go_on_during_a_run():
    session = Session(models.heavy(768, 60))
    x = np.ones((768, 768), np.float32)
    times = {}

    def work() -> None:
        times["start"] = time.monotonic()
        session.run({"x": x})
        times["end"] = time.monotonic()

    thread = threading.Thread(target=work)
    ticks = []
    thread.start()
    while thread.is_alive():
        ticks.append(time.monotonic())
        time.sleep(0)
    thread.join()
    # With the lock held, this thread would have stood still in the middle of the run.
    quarter = (times["end"] - times["start"]) / 4
    middle = [t for t in ticks if times["start"] + quarter < t < times["end"] - quarter]
    assert middle


def test_runs_are_awaited(session):
    async def several():
        batches = [np.random.default_rng(n).normal(size=(n, 16)).astype(np.float32) for n in range(1, 9)]
        made = await asyncio.gather(*(session.run_async({"pixels": b}) for b in batches))
        for batch, outputs in zip(batches, made):
            np.testing.assert_array_equal(outputs["scores"], session.run({"pixels": batch})["scores"])
        with pytest.raises(mizzen.Error) as caught:
            await session.run_async({"pixels": PIXELS[:, :3]})
        assert caught.value.code == "invalid_argument" and caught.value.subject == "input 'pixels'"

    asyncio.run(several())
    with pytest.raises(RuntimeError):  # no loop here
        session.run_async({"pixels": PIXELS})


def test_a_session_may_be_dropped_while_it_runs():
    async def drop():
        futures = [Session(models.classifier()).run_async({"pixels": PIXELS}) for _ in range(20)]
        cancelled = Session(models.classifier(), async_runs=1).run_async({"pixels": PIXELS})
        cancelled.cancel()
        for outputs in await asyncio.gather(*futures):
            assert outputs["scores"].shape[0] == 5

    asyncio.run(drop())

    async def leave():  # the loop ends before its runs do
        for _ in range(20):
            Session(models.classifier()).run_async({"pixels": PIXELS})

    asyncio.run(leave())


def test_the_interpreter_may_end_while_a_session_runs(tmp_path):
    (tmp_path / "model.onnx").write_bytes(models.classifier())
    script = (
        "import asyncio, sys, numpy as np, mizzen\n"
        "session = mizzen.inference.Session('model.onnx')\n"
        "async def leave():\n"
        "    for _ in range(50): session.run_async({'pixels': np.ones((2000, 16), np.float32)})\n"
        "asyncio.run(leave())\n"
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=60)


def test_shape_buckets(session):
    bucketed = Session(models.classifier(), shape_buckets={"batch": [4, 8]})
    for n in (1, 4, 5, 9):
        pixels = np.random.default_rng(n).normal(size=(n, 16)).astype(np.float32)
        scores = bucketed.run({"pixels": pixels})["scores"]
        np.testing.assert_allclose(scores, session.run({"pixels": pixels})["scores"], rtol=1e-5, atol=1e-6)
    with pytest.raises(mizzen.Error) as caught:
        Session(models.classifier(), shape_buckets={"nobody": [1]})
    assert caught.value.subject == "session_options.shape_buckets['nobody']"


def test_only_the_init_function_is_visible():
    extension = next(pathlib.Path(mizzen.__file__).parent.glob("_mizzen*.so"))
    symbols = subprocess.run(
        ["nm", "-D", "--defined-only", "-P", str(extension)], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    names = {line.split()[0] for line in symbols if line}
    assert names == {"PyInit__mizzen"}


def test_types_check(tmp_path):
    user = tmp_path / "user.py"
    user.write_text(
        "import mizzen\n"
        "session = mizzen.inference.Session('m.onnx', threads=2)\n"
        "scores = session.run({'x': [1.0]})['scores']\n"
        "with mizzen.tracking.Client().start_run('digits') as run:\n"
        "    run.log_metric('loss', float(scores[0]), step=3)\n"
        "version: int = mizzen.tracking.Client().register_model('m', run.log_model('m.onnx')).version\n"
    )
    package = pathlib.Path(mizzen.__file__).parent
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(user), str(package)],
        capture_output=True, text=True, env={**os.environ, "MYPYPATH": str(package.parent)}, cwd=tmp_path,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_profile(session, tmp_path):
    profile = Profile()
    for _ in range(3):
        session.run({"pixels": PIXELS}, profile=profile)
    assert profile.runs == 3 and profile.seconds > 0
    assert {o.op_type: o.count for o in profile.operators()} == {"Gemm": 6, "Softmax": 3, "(engine)": 3}
    first = next(n for n in profile.nodes() if n.fused)
    assert (first.op_type, first.fused, first.outputs, first.count) == ("Gemm", "+relu", "float32[5, 32]", 3)
    assert "Gemm+relu" in str(profile)
    profile.write_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [e["name"] for e in events if e["ph"] == "X"][:4] == ["run", "Gemm+relu", "Gemm", "Softmax"]
    profile.clear()
    assert profile.runs == 0 and profile.nodes() == []


def test_shows_the_graph_while_it_loads():
    seen = []
    Session(models.classifier(), on_graph=lambda name, graph: seen.append((name, graph)))
    assert seen[0][0] == "imported" and "Relu" in seen[0][1]
    assert "fuse_post_ops" in [name for name, _ in seen]
    with pytest.raises(ZeroDivisionError):
        Session(models.classifier(), on_graph=lambda name, graph: 1 / 0)
