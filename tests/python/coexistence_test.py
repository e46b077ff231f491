"""mizzen, onnx and onnxruntime in one process, whichever is imported first."""
import itertools
import subprocess
import sys

import pytest

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
{imports}
import models, numpy
model = models.classifier()
onnx.checker.check_model(onnx.load_from_string(model))
pixels = numpy.ones((3, 16), numpy.float32)
for _ in range(3):
    ours = mizzen.inference.Session(model, threads=2).run(dict(pixels=pixels))["scores"]
    theirs = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, dict(pixels=pixels))[0]
    numpy.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    with mizzen.tracking.Client("sqlite:///" + sys.argv[2]).start_run() as run:
        run.log_model(onnx.load_from_string(model))
try:
    mizzen.inference.Session(b"damaged")
except mizzen.Error as error:
    print(error.code)
"""


@pytest.mark.parametrize("order", list(itertools.permutations(["mizzen", "onnx", "onnxruntime"])), ids="-".join)
def test_import_order(order, request, tmp_path):
    program = PROGRAM.format(imports="\n".join(f"import {name}" for name in order))
    result = subprocess.run(
        [sys.executable, "-c", program, str(request.path.parent), str(tmp_path / "mlflow.db")],
        capture_output=True, text=True, timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() in ("invalid_argument", "data_loss")
