"""Mizzen: run ONNX models in this process, track experiments in the store of MLflow.

    import mizzen
    session = mizzen.inference.Session("model.onnx")
    scores = session.run({"pixels": pixels})["scores"]

    with mizzen.tracking.Client().start_run("digits") as run:
        run.log_metric("loss", 0.1, step=1)
"""
from . import inference, tracking
from ._error import Error

__all__ = ["Error", "inference", "tracking"]
