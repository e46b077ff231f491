"""Track experiments in a SQLite store that MLflow opens as its own.

    client = Client("sqlite:///mlflow.db")
    with client.start_run("digits", params={"rate": 0.1}) as run:
        run.log_metric("loss", 0.25, step=1)
        model = run.log_model("model.onnx")
    client.register_model("digits", model)

A with block ends its run as FINISHED, or as FAILED when an exception leaves it. What a log_ or set_
call wrote when it returns survives the death of the process. Errors are mizzen.Error.
"""
from ._mizzen.tracking import (
    ArtifactInfo,
    Client,
    Experiment,
    LoggedModel,
    Metric,
    ModelVersion,
    RegisteredModel,
    Run,
    RunRecord,
)

__all__ = [
    "ArtifactInfo",
    "Client",
    "Experiment",
    "LoggedModel",
    "Metric",
    "ModelVersion",
    "RegisteredModel",
    "Run",
    "RunRecord",
]
for _name in __all__:
    globals()[_name].__module__ = __name__
