"""Runs an ONNX model from Python and tracks what came of it: python3 examples/python.py MODEL STORE"""
import sys

import mizzen
import numpy

path, store = sys.argv[1:]

# --8<-- [start:readme]
session = mizzen.inference.Session(path, device="cpu", threads=1)
pixels = numpy.ones([3, session.inputs[0].shape[1]], numpy.float32)
outputs = session.run({"pixels": pixels})  # {name: ndarray}

with mizzen.tracking.Client(store).start_run("digits", params={"batch": 3}) as run:
    run.log_metric("confidence", outputs["scores"].max())
    run.log_model(path)
# --8<-- [end:readme]
print(session.outputs, run.id)
