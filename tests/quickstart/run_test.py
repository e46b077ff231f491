"""The quickstart end to end: accuracy, cache, retry, --keep and drain; its model under the ONNX checker and ONNX Runtime."""
import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request

import numpy
import onnx
import onnxruntime

from program import field, free_port, run

program = sys.argv[1]


def read_csv(path):
    rows = numpy.loadtxt(path, delimiter=",", dtype=numpy.float32)
    return numpy.ascontiguousarray(rows[:, :64]), rows[:, 64].astype(int)


with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder) / "root"

    first = run(program, root, "--failures=2")
    assert first.returncode == 0
    accuracy = float(re.match(r"([\d.]+) %", field(first.stdout, "accuracy"))[1])
    assert accuracy >= 95
    # Two attempts fail as asked, the third goes through.
    assert first.stderr.count("out of reach") == 2, first.stderr

    second = run(program, root, "--failures=2")
    assert second.returncode == 0
    ran, cached = map(int, re.findall(r"\d+", field(second.stdout, "steps")))
    # ingest reads from outside and serve talks to the outside; all else is unchanged:
    # prepare, two times train and evaluate, gate, register.
    assert (ran, cached) == (2, 7)
    assert "version 1" in field(second.stdout, "model"), "an unchanged model must not become a new version"

    exhausted = run(program, pathlib.Path(folder) / "other", "--failures=9")
    assert exhausted.returncode != 0 and "out of reach" in exhausted.stderr

    bad = run(program, pathlib.Path(folder) / "other", "--epochs=many")
    assert bad.returncode != 0 and "--epochs" in bad.stderr

    # The file that was registered is valid ONNX and gives the same predictions in ONNX Runtime.
    location = pathlib.Path(field(first.stdout, "model").split(" (")[0])
    path = location / "model.onnx"
    onnx.checker.check_model(onnx.load(path), full_check=True)
    test_csv = next(root.glob("pipelines/digits/*/prepare/test"))
    images, labels = read_csv(test_csv)
    expected = onnxruntime.InferenceSession(str(path)).run(None, {"pixels": images})[0]
    assert round(100 * float((expected.argmax(1) == labels).mean()), 2) == accuracy

    # --keep serves the champion until SIGTERM.
    port = free_port()
    server = subprocess.Popen([program, f"--root={root}", "--keep", f"--port={port}"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        for line in server.stdout:
            if line.startswith("serving"):
                break
        body = {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": list(images.shape),
                            "data": images.ravel().tolist()}]}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v2/models/digits/infer",
                                         json.dumps(body).encode(), {"Content-Type": "application/json"})
        answer = json.load(urllib.request.urlopen(request, timeout=60))
        served = numpy.array(answer["outputs"][0]["data"], numpy.float32).reshape(answer["outputs"][0]["shape"])
        numpy.testing.assert_allclose(served, expected, rtol=1e-4, atol=1e-6)
        assert (served.argmax(1) == expected.argmax(1)).all()
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    finally:
        if server.poll() is None:
            server.kill()
print("ok")
