"""Turns a float32 model into one of half-width floats, as users do it: weights, inputs and outputs."""

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

GREATEST = 65504.0
LEAST = 6e-8  # what is smaller would become 0, and a quotient by it infinite


def half_array(values):
    away = np.where((values != 0) & (np.abs(values) < LEAST), np.copysign(LEAST, values), values)
    return np.clip(away, -GREATEST, GREATEST).astype(np.float16)


def half_tensor(tensor):
    if tensor.data_type == TensorProto.FLOAT:
        tensor.CopyFrom(numpy_helper.from_array(half_array(numpy_helper.to_array(tensor)), tensor.name))


def half_info(info):
    kind = info.type.tensor_type
    if kind.elem_type == TensorProto.FLOAT:
        kind.elem_type = TensorProto.FLOAT16


def halved(model):
    """The bytes of a model without subgraphs, in float16."""
    model = onnx.load_from_string(model)
    graph = model.graph
    for tensor in graph.initializer:
        half_tensor(tensor)
    for info in (*graph.input, *graph.output, *graph.value_info):
        half_info(info)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                half_tensor(attribute.t)
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def halved_inputs(inputs):
    return {name: half_array(array) if array.dtype == np.float32 else array for name, array in inputs.items()}
