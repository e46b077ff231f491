"""Small models, made with onnx."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def classifier(features: int = 16, hidden: int = 32, classes: int = 10) -> bytes:
    """A perceptron with a free batch dimension: pixels -> scores, and the hidden layer."""
    random = np.random.default_rng(7)
    weights = {
        "w1": random.normal(size=(features, hidden)).astype(np.float32),
        "b1": random.normal(size=hidden).astype(np.float32),
        "w2": random.normal(size=(hidden, classes)).astype(np.float32),
        "b2": random.normal(size=classes).astype(np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["pixels", "w1", "b1"], ["sum"]),
            helper.make_node("Relu", ["sum"], ["hidden"]),
            helper.make_node("Gemm", ["hidden", "w2", "b2"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
        ],
        "classifier",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", features])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", classes]),
            helper.make_tensor_value_info("hidden", TensorProto.FLOAT, ["batch", hidden]),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return finish(graph)


def identity(element_type: int, rank: int = 2) -> bytes:
    shape = [None] * rank
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "identity",
        [helper.make_tensor_value_info("x", element_type, shape)],
        [helper.make_tensor_value_info("y", element_type, shape)],
    )
    return finish(graph)


def heavy(size: int, layers: int) -> bytes:
    """Matrix products in a row: takes a while."""
    weight = np.eye(size, dtype=np.float32)
    names = ["x"] + [f"h{i}" for i in range(1, layers)] + ["y"]
    graph = helper.make_graph(
        [helper.make_node("MatMul", [names[i], "w"], [names[i + 1]]) for i in range(layers)],
        "heavy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [size, size])],
        [numpy_helper.from_array(weight, "w")],
    )
    return finish(graph)


def finish(graph: onnx.GraphProto) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()
