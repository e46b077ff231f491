"""Writes the seeds of the targets onnx_*_fuzz.

    make_seeds.py FOLDER            small valid models, one per family of operators
    make_seeds.py FOLDER NODES      of the cases that tests/models/prepare.sh nodes made, the smallest of each operator

(In the environment tests/requirements/onnx.txt.)
"""

import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F, I = TensorProto.FLOAT, TensorProto.INT64


def model(name, nodes, inputs, outputs, constants, opset=17):
    info = lambda n, t, s: helper.make_tensor_value_info(n, t, s)
    graph = helper.make_graph(
        nodes, name, [info(*i) for i in inputs], [info(*o) for o in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    m = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(m)
    return m.SerializeToString()


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def seeds():
    f = lambda *s: np.linspace(-1, 1, int(np.prod(s)), dtype=np.float32).reshape(s)
    i = lambda *v: np.array(v, np.int64)
    yield "mlp", [node("Gemm", "x w b", "h", transB=1), node("Relu", "h", "r"), node("MatMul", "r v", "m"),
                  node("Softmax", "m", "y", axis=-1)], [("x", F, ["n", 4])], [("y", F, ["n", 2])], \
        {"w": f(3, 4), "b": f(3), "v": f(3, 2)}
    yield "conv", [node("Conv", "x w", "c", pads=[1, 1, 1, 1], strides=[2, 1]),
                   node("BatchNormalization", "c s s s v", "n"), node("HardSigmoid", "n", "h"),
                   node("Mul", "n h", "m"), node("MaxPool", "m", "p", kernel_shape=[2, 2], ceil_mode=1),
                   node("GlobalAveragePool", "p", "y")], [("x", F, [1, 2, 5, 5])], [("y", F, [None] * 4)], \
        {"w": f(3, 2, 3, 3), "s": f(3), "v": np.abs(f(3))}
    yield "shape", [node("Shape", "x", "s"), node("Gather", "s z", "n"), node("Unsqueeze", "n a", "n1"),
                    node("Concat", "n1 r", "t", axis=0), node("Reshape", "x t", "y")], \
        [("x", F, ["n", 2, 3])], [("y", F, [None] * 2)], {"z": np.int64(0), "a": i(0), "r": i(-1)}
    yield "move", [node("Transpose", "x", "t", perm=[1, 0]), node("Slice", "t b e", "s"),
                   node("Pad", "s p", "d", mode="constant"), node("Tile", "d k", "l"),
                   node("Split", "l", "u v", axis=1), node("Expand", "u g", "w"), helper.make_node("Resize", ["w", "", "q"], ["y"])], \
        [("x", F, ["n", 4])], [("y", F, [None] * 3), ("v", F, [None] * 2)], \
        {"b": i(3, -1), "e": i(0, 9), "p": i(1, 0, 1, 0), "k": i(1, 4), "g": i(2, 1, 1), "q": f(3) * 0 + 2}
    yield "select", [node("TopK", "x k", "v i"), node("ArgMax", "x", "m", axis=1), node("OneHot", "m d o", "h"),
                     node("GatherElements", "x i", "g", axis=1), node("Greater", "g v", "c"),
                     node("Where", "c g v", "w"), node("CumSum", "w a", "y"), node("Cast", "h", "z", to=I)], \
        [("x", F, ["n", 4])], [("y", F, [None] * 2), ("z", I, [None] * 3)], \
        {"k": i(2), "d": i(4), "o": f(2), "a": np.int64(1)}
    yield "norm", [node("ReduceMean", "x", "m", axes=[-1]), node("Sub", "x m", "c"), node("Pow", "c two", "q"),
                   node("ReduceMean", "q", "v", axes=[-1]), node("Add", "v e", "a"), node("Sqrt", "a", "s"),
                   node("Div", "c s", "d"), node("Mul", "d g", "k"), node("Add", "k h", "y")], \
        [("x", F, ["n", 4])], [("y", F, [None] * 2)], {"two": np.float32(2), "e": np.float32(1e-5), "g": f(4), "h": f(4)}
    yield "fold", [node("ConstantOfShape", "s", "z"), node("Range", "a b c", "r"), node("Add", "z r", "t"),
                   node("Dropout", "t", "u"), node("Identity", "u", "y")], [], [("y", F, [None] * 2)], \
        {"s": i(2, 3), "a": np.float32(0), "b": np.float32(3), "c": np.float32(1)}
    # Conv -> Add -> AveragePool -> Reshape -> MatMul between QuantizeLinear / DequantizeLinear pairs.
    pair = lambda v: [node("QuantizeLinear", f"{v} s z", f"{v}q"), node("DequantizeLinear", f"{v}q s z", f"{v}d")]
    weight = lambda v: [node("DequantizeLinear", f"{v} s k", f"{v}d")]
    yield "qdq", [*pair("x"), *weight("w"), node("Conv", "xd wd b", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "r"), *pair("r"),
                  node("Add", "rd xd", "a"), *pair("a"), node("Sigmoid", "ad", "g"), *pair("g"),
                  node("GlobalAveragePool", "gd", "p"), *pair("p"), node("Reshape", "pd t", "f"), *weight("v"),
                  node("MatMul", "f vd", "m"), *pair("m"), node("Identity", "md", "y")], \
        [("x", F, [1, 2, 4, 4])], [("y", F, [None] * 2)], \
        {"w": np.ones((2, 2, 3, 3), np.int8), "v": np.ones((2, 3), np.int8), "b": f(2), "s": np.float32(0.02),
         "z": np.uint8(128), "k": np.int8(0), "t": i(1, 2)}
    # 1x1 -> depthwise -> 1x1, as in an inverted residual.
    yield "strip", [node("Conv", "x u", "a"), node("Clip", "a l h", "b"),
                    node("Conv", "b d", "c", group=4, pads=[1, 1, 1, 1]), node("HardSwish", "c", "e"),
                    node("Conv", "e v", "g"), node("Add", "g x", "y")], \
        [("x", F, [1, 2, 6, 6])], [("y", F, [None] * 4)], \
        {"u": f(4, 2, 1, 1), "d": f(4, 1, 3, 3), "v": f(2, 4, 1, 1), "l": np.float32(0), "h": np.float32(6)}
    # Attention of two heads as exporters write it out, with its projections and the norm after it.
    heads = lambda v, perm: [node("MatMul", f"x {v}", f"{v}p"), node("Reshape", f"{v}p t", f"{v}r"),
                             node("Transpose", f"{v}r", f"{v}t", perm=perm)]
    yield "attention", [*heads("q", [0, 2, 1, 3]), *heads("k", [0, 2, 3, 1]), *heads("v", [0, 2, 1, 3]),
                        node("MatMul", "qt kt", "s"), node("Div", "s c", "d"), node("Add", "d m", "a"),
                        node("Softmax", "a", "w", axis=-1), node("MatMul", "w vt", "o"),
                        node("Transpose", "o", "ot", perm=[0, 2, 1, 3]), node("Reshape", "ot u", "j"),
                        node("Add", "j x", "r"), node("LayerNormalization", "r g", "n"), node("Tanh", "n", "y")], \
        [("x", F, [1, 3, 4]), ("m", F, [1, 1, 1, 3])], [("y", F, [None] * 3)], \
        {"q": f(4, 4), "k": f(4, 4), "v": f(4, 4), "t": i(0, 0, 2, 2), "u": i(0, 0, 4), "c": np.float32(1.4), "g": f(4)}
    half = lambda *s: f(*s).astype(np.float16)
    yield "half", [node("Conv", "x w b", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "r"), node("Flatten", "r", "l"),
                   node("Gemm", "l v", "m"), node("Softmax", "m", "s"), node("Cast", "s", "y", to=F)], \
        [("x", TensorProto.FLOAT16, [1, 2, 3, 3])], [("y", F, [None] * 2)], \
        {"w": half(3, 2, 3, 3), "b": half(3), "v": half(27, 2)}
    # Pictures whose channels lie last for a part of the way, as converters from other frameworks leave them.
    yield "layout", [node("Transpose", "x", "p", perm=[0, 3, 1, 2]), node("Conv", "p w", "c", pads=[1, 1, 1, 1]),
                     node("Transpose", "c", "l", perm=[0, 2, 3, 1]), node("Add", "l b", "a"), node("Relu", "a", "r"),
                     node("Transpose", "r", "q", perm=[0, 3, 1, 2]), node("ConvTranspose", "q t", "u", strides=[2, 2]),
                     helper.make_node("Resize", ["q", "", "z"], ["e"]), node("Concat", "u e", "j", axis=1),
                     node("ReduceMean", "j", "m", axes=[2, 3]), node("Transpose", "j", "y", perm=[0, 2, 3, 1])], \
        [("x", F, [1, 4, 4, 2])], [("y", F, [None] * 4), ("m", F, [None] * 4)], \
        {"w": f(3, 2, 3, 3), "b": f(3), "t": f(3, 2, 2, 2), "z": np.array([1, 1, 2, 2], np.float32)}
    # 1 x 1 over a line, squeezed, then a product: the tail of a recogniser.
    yield "squeeze", [node("Conv", "x w b", "c", strides=[3, 1]), node("HardSwish", "c", "h"), node("Squeeze", "h a", "s"),
                      node("Transpose", "s", "t", perm=[0, 2, 1]), node("MatMul", "t v", "m"), node("Add", "m d", "k"),
                      node("Softmax", "k", "y", axis=2)], \
        [("x", F, [1, 2, 3, 5])], [("y", F, [None] * 3)], \
        {"w": f(4, 2, 3, 1), "b": f(4), "a": i(2), "v": f(4, 3), "d": f(3)}


def smallest_cases(nodes, most=2048):
    found = {}
    for path in sorted(nodes.glob("*/model.onnx")):
        m = onnx.load(path)
        m.producer_name = ""
        data = m.SerializeToString()
        operator = "+".join(sorted({n.op_type for n in m.graph.node})) if len(m.graph.node) < 3 else None
        if operator and len(data) <= most and len(data) < len(found.get(operator, data + b"1")):
            found[operator] = data
    return found


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    if len(sys.argv) > 2:
        for operator, data in smallest_cases(pathlib.Path(sys.argv[2])).items():
            (folder / f"{operator}.onnx").write_bytes(data)
        return
    for name, nodes, inputs, outputs, constants in seeds():
        (folder / f"{name}.onnx").write_bytes(model(name, nodes, inputs, outputs, constants))


if __name__ == "__main__":
    main()
