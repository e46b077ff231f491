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


def longer_sequence() -> bytes:
    """parts: a sequence, with x behind it, and all of it concatenated."""
    one = helper.make_tensor_type_proto(TensorProto.FLOAT, [None])
    many = helper.make_sequence_type_proto(one)
    graph = helper.make_graph(
        [
            helper.make_node("SequenceInsert", ["parts", "x"], ["longer"]),
            helper.make_node("ConcatFromSequence", ["longer"], ["all"], axis=0),
        ],
        "longer",
        [helper.make_value_info("parts", many), helper.make_value_info("x", one)],
        [helper.make_value_info("longer", many), helper.make_value_info("all", one)],
    )
    return finish(graph)


def optional_or_zero() -> bytes:
    """x where it is given, else [0]."""
    one = helper.make_tensor_type_proto(TensorProto.FLOAT, [None])
    zero = helper.make_node("Constant", [], ["zero"], value_floats=[0.0])
    graph = helper.make_graph(
        [
            helper.make_node("OptionalHasElement", ["x"], ["there"]),
            helper.make_node(
                "If",
                ["there"],
                ["y"],
                then_branch=helper.make_graph(
                    [helper.make_node("OptionalGetElement", ["x"], ["t"])], "t", [], [helper.make_value_info("t", one)]
                ),
                else_branch=helper.make_graph([zero], "e", [], [helper.make_value_info("zero", one)]),
            ),
        ],
        "optional",
        [helper.make_value_info("x", helper.make_optional_type_proto(one))],
        [helper.make_value_info("y", one)],
    )
    return finish(graph)


def reference(node: onnx.NodeProto, name: str, to: str) -> onnx.NodeProto:
    """The node with an attribute that a function's call gives."""
    node.attribute.append(onnx.AttributeProto(name=name, ref_attr_name=to, type=onnx.AttributeProto.FLOAT))
    return node


def with_functions() -> bytes:
    """y = scaled(x, 2); z = scaled(x) or scaled(scaled(x))."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    scaled = helper.make_function(
        "own",
        "scaled",
        ["v", "shift"],
        ["out"],
        [
            reference(helper.make_node("Constant", [], ["scale"]), "value_float", "scale"),
            helper.make_node("Mul", ["v", "scale"], ["product"]),
            helper.make_node("Add", ["product", "shift"], ["out"]),
        ],
        opsets,
        attribute_protos=[helper.make_attribute("scale", 3.0)],
    )
    info = helper.make_tensor_value_info
    once = helper.make_graph(
        [helper.make_node("Identity", ["first"], ["o"])], "once", [], [info("o", TensorProto.FLOAT, None)]
    )
    again = helper.make_graph(
        [helper.make_node("scaled", ["first", "by"], ["a"], domain="own")],
        "again",
        [],
        [info("a", TensorProto.FLOAT, None)],
    )
    maybe_twice = helper.make_function(
        "own",
        "maybe_twice",
        ["v", "by", "twice"],
        ["out"],
        [
            helper.make_node("scaled", ["v", "by"], ["first"], domain="own"),
            helper.make_node("If", ["twice"], ["out"], then_branch=again, else_branch=once),
        ],
        opsets,
    )
    graph = helper.make_graph(
        [
            helper.make_node("scaled", ["x", "one"], ["y"], domain="own", scale=2.0),
            helper.make_node("maybe_twice", ["x", "one", "twice"], ["z"], domain="own"),
        ],
        "functions",
        [info("x", TensorProto.FLOAT, ["n"]), info("twice", TensorProto.BOOL, [])],
        [info("y", TensorProto.FLOAT, ["n"]), info("z", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(np.float32(1), "one")],
    )
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=[scaled, maybe_twice])
    return model.SerializeToString()


def recursive() -> bytes:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    functions = [
        helper.make_function("own", name, ["v"], ["o"], [helper.make_node(other, ["v"], ["o"], domain="own")], opsets)
        for name, other in (("ping", "pong"), ("pong", "ping"))
    ]
    graph = helper.make_graph(
        [helper.make_node("ping", ["x"], ["y"], domain="own")],
        "recursive",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
    )
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=functions).SerializeToString()


def finish(graph: onnx.GraphProto) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()
