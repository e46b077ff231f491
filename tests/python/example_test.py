"""examples/python.py does what the README says."""
import pathlib
import subprocess
import sys

import mizzen
import models

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples/python.py"


def test_example(tmp_path):
    model = tmp_path / "model.onnx"
    model.write_bytes(models.classifier())
    store = f"sqlite:///{tmp_path}/mlflow.db"
    done = subprocess.run([sys.executable, EXAMPLE, model, store], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    run = mizzen.tracking.Client(store).get_run(done.stdout.split()[-1])
    assert run.params == {"batch": "3"}
    assert 0.1 < run.metrics["confidence"].value <= 1
