"""Cases of sizes and forms that the onnx package's own tests of operators, which are tiny, do not reach: rows longer
than a block, odd widths, several blocks, parts that are computed in one kernel. Numbers are such as float16 has.

cases(): name and model; inputs are drawn by draw().
"""
from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}


def numbers(rng: np.random.Generator, *shape: int, size: float = 1.0) -> np.ndarray:
    return rng.normal(0, size, shape).astype(np.float16).astype(np.float32)


class Case:
    """A graph of a few nodes over one float type."""

    def __init__(self, name: str, kind: str = "float32"):
        self.name = name if kind == "float32" else f"{name}_{kind}"
        self.kind = TYPES[kind]
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.nodes, self.constants, self.values, self.ends, self.given = [], [], [], [], []
        self.count = 0

    def input(self, *shape: int, kind: int | None = None, values: np.ndarray | None = None) -> str:
        name = f"x{len(self.values)}"
        self.values.append(helper.make_tensor_value_info(name, kind or self.kind, shape))
        self.given.append(numbers(self.rng, *shape) if values is None else values)
        return name

    def weight(self, *shape: int, size: float | None = None) -> str:
        return self.constant(numbers(self.rng, *shape, size=size or 1 / np.sqrt(max(1, np.prod(shape[1:])))))

    def constant(self, value: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        value = np.asarray(value)
        if value.dtype == np.float32 and self.kind != TensorProto.FLOAT:
            tensor = helper.make_tensor(name, self.kind, value.shape, value.flatten().tolist())
        else:
            tensor = numpy_helper.from_array(value, name)
        self.constants.append(tensor)
        return name

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def op(self, op_type: str, *inputs: str, outputs: int = 1, **attributes):
        names = [f"v{self.count + i}" for i in range(outputs)]
        self.count += outputs
        self.nodes.append(helper.make_node(op_type, list(inputs), names, name=f"{op_type}_{self.count}", **attributes))
        return names[0] if outputs == 1 else names

    def end(self, *names: str) -> tuple[str, onnx.ModelProto, list[np.ndarray]]:
        infos = [onnx.ValueInfoProto(name=n) for n in names]
        graph = helper.make_graph(self.nodes, self.name, self.values, infos, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(model)
        to = {v.name: v.type.tensor_type.elem_type for v in model.graph.input}
        given = [g.astype(helper.tensor_dtype_to_np_dtype(t)) if g.dtype == np.float32 else g for g, t in zip(self.given, to.values())]
        return self.name, model, given


def products(kind: str) -> Iterator[tuple]:
    for m, k, n in ((1, 768, 2304), (4, 64, 50), (128, 768, 256), (65, 33, 17), (3, 1, 5), (8, 1024, 1000), (257, 64, 64)):
        c = Case(f"matmul_{m}x{k}x{n}", kind)
        yield c.end(c.op("MatMul", c.input(m, k), c.weight(k, n, size=k**-0.5)))
    c = Case("matmul_both_batched", kind)
    yield c.end(c.op("MatMul", c.input(2, 6, 33, 64), c.input(2, 6, 64, 33)))
    c = Case("matmul_batch_of_one_side", kind)
    yield c.end(c.op("MatMul", c.input(3, 5, 40, 24), c.input(5, 24, 16)))
    c = Case("matmul_transposed_inputs", kind)
    yield c.end(c.op("MatMul", c.op("Transpose", c.input(2, 48, 33), perm=[0, 2, 1]), c.op("Transpose", c.input(2, 40, 48), perm=[0, 2, 1])))
    for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
        c = Case(f"gemm_{a}{b}", kind)
        x = c.input(*((70, 33) if a else (33, 70)))
        w = c.weight(*((41, 70) if b else (70, 41)), size=0.1)
        yield c.end(c.op("Gemm", x, w, c.weight(41), transA=a, transB=b, alpha=0.5, beta=2.0))
    for act in ("relu", "gelu", "gelu_tanh", "silu", "residual"):
        c = Case(f"linear_{act}", kind)
        x = c.input(37, 96)
        y = c.op("Add", c.op("MatMul", x, c.weight(96, 80, size=0.1)), c.weight(80))
        if act == "relu":
            y = c.op("Relu", y)
        elif act == "gelu":
            y = c.op("Gelu", y)
        elif act == "gelu_tanh":
            y = c.op("Gelu", y, approximate="tanh")
        elif act == "silu":
            y = c.op("Mul", y, c.op("Sigmoid", y))
        else:
            y = c.op("Add", y, c.input(37, 80))
        yield c.end(y)


def convolutions(kind: str) -> Iterator[tuple]:
    forms = {  # input, filters, attributes
        "1x1": ((2, 24, 17, 19), (40, 24, 1, 1), {}),
        "3x3": ((2, 16, 15, 20), (24, 16, 3, 3), {"pads": [1] * 4}),
        "3x3_stride": ((1, 16, 15, 20), (24, 16, 3, 3), {"pads": [1] * 4, "strides": [2, 2]}),
        "7x7_of_3": ((1, 3, 33, 41), (32, 3, 7, 7), {"pads": [3] * 4, "strides": [2, 2]}),
        "odd_channels": ((1, 5, 13, 11), (7, 5, 3, 3), {"pads": [1] * 4}),
        "dilated": ((1, 8, 20, 21), (8, 8, 3, 3), {"pads": [2] * 4, "dilations": [2, 2]}),
        "uneven_pads": ((1, 8, 12, 13), (8, 8, 3, 3), {"pads": [0, 1, 1, 0]}),
        "same_upper": ((1, 8, 12, 13), (8, 8, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        "depthwise_3x3": ((2, 32, 14, 15), (32, 1, 3, 3), {"pads": [1] * 4, "group": 32}),
        "depthwise_5x5_stride": ((1, 24, 17, 15), (24, 1, 5, 5), {"pads": [2] * 4, "strides": [2, 2], "group": 24}),
        "groups_of_8": ((1, 32, 9, 9), (48, 8, 3, 3), {"pads": [1] * 4, "group": 4}),
        "1d": ((2, 12, 130), (20, 12, 5), {"pads": [2, 2]}),
        "3d": ((1, 4, 10, 11, 12), (8, 4, 3, 3, 3), {"pads": [1] * 6}),
        "3d_stride": ((1, 1, 12, 14, 16), (16, 1, 3, 3, 3), {"pads": [1] * 6, "strides": [2] * 3}),
    }
    for name, (x, w, attributes) in forms.items():
        c = Case(f"conv_{name}", kind)
        yield c.end(c.op("Conv", c.input(*x), c.weight(*w), c.weight(w[0]), **attributes))
    for act in ("Relu", "HardSwish", "Sigmoid"):
        c = Case(f"conv_then_{act}", kind)
        yield c.end(c.op(act, c.op("Conv", c.input(1, 16, 12, 12), c.weight(16, 16, 3, 3), c.weight(16), pads=[1] * 4)))
    c = Case("conv_bottleneck", kind)
    x = c.input(1, 32, 10, 10)
    y = c.op("Relu", c.op("Conv", x, c.weight(16, 32, 1, 1), c.weight(16)))
    y = c.op("Relu", c.op("Conv", y, c.weight(16, 16, 3, 3), c.weight(16), pads=[1] * 4))
    yield c.end(c.op("Relu", c.op("Add", c.op("Conv", y, c.weight(32, 16, 1, 1), c.weight(32)), x)))
    c = Case("conv_squeeze_excite", kind)
    x = c.op("Conv", c.input(2, 16, 12, 12), c.weight(32, 16, 1, 1))
    y = c.op("Relu", c.op("Conv", c.op("GlobalAveragePool", x), c.weight(8, 32, 1, 1)))
    yield c.end(c.op("Mul", x, c.op("HardSigmoid", c.op("Conv", y, c.weight(32, 8, 1, 1)))))
    for name, (x, w, attributes) in {
        "2x2": ((1, 16, 9, 10), (16, 8, 2, 2), {"strides": [2, 2]}),
        "4x4": ((2, 8, 7, 6), (8, 12, 4, 4), {"strides": [2, 2], "pads": [1] * 4}),
        "3x3_output_padding": ((1, 8, 7, 6), (8, 12, 3, 3), {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]}),
        "groups": ((1, 8, 7, 6), (8, 3, 3, 3), {"pads": [1] * 4, "group": 2}),
        "1d": ((1, 8, 50), (8, 4, 4), {"strides": [2]}),
        "3d": ((1, 8, 5, 6, 7), (8, 4, 3, 3, 3), {"strides": [2] * 3, "pads": [1] * 6, "output_padding": [1] * 3}),
    }.items():
        c = Case(f"conv_transpose_{name}", kind)
        yield c.end(c.op("ConvTranspose", c.input(*x), c.weight(*w), **attributes))


def windows(kind: str) -> Iterator[tuple]:
    for name, op, shape, attributes in (
        ("max_3x3", "MaxPool", (2, 9, 23, 17), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}),
        ("max_ceil", "MaxPool", (1, 9, 22, 16), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
        ("max_3d", "MaxPool", (1, 8, 8, 9, 10), {"kernel_shape": [2] * 3, "strides": [2] * 3}),
        ("average", "AveragePool", (2, 9, 23, 17), {"kernel_shape": [3, 3], "strides": [1, 2], "pads": [1] * 4}),
        ("average_with_pads", "AveragePool", (1, 8, 12, 12), {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1}),
        ("global_average", "GlobalAveragePool", (2, 70, 33, 35), {}),
        ("global_max", "GlobalMaxPool", (2, 70, 33, 35), {}),
    ):
        c = Case(f"pool_{name}", kind)
        yield c.end(c.op(op, c.input(*shape), **attributes))
    for mode, transform in (("nearest", "asymmetric"), ("linear", "half_pixel"), ("linear", "align_corners"), ("linear", "asymmetric")):
        c = Case(f"resize_{mode}_{transform}", kind)
        yield c.end(c.op("Resize", c.input(1, 5, 11, 13), "", c.constant(np.array([1, 1, 2, 3], np.float32)) if kind == "float32" else _scales(c),
                         mode=mode, coordinate_transformation_mode=transform, **({"nearest_mode": "floor"} if mode == "nearest" else {})))


def _scales(c: Case) -> str:
    c.constants.append(numpy_helper.from_array(np.array([1, 1, 2, 3], np.float32), "scales"))
    return "scales"


def rows(kind: str) -> Iterator[tuple]:
    for width in (7, 128, 1000, 4099, 30522):
        c = Case(f"softmax_{width}", kind)
        yield c.end(c.op("Softmax", c.input(9 if width < 5000 else 2, width), axis=-1))
    for axis in (0, 1):
        c = Case(f"softmax_axis_{axis}", kind)
        yield c.end(c.op("Softmax", c.input(33, 20, 18), axis=axis))
    c = Case("log_softmax", kind)
    yield c.end(c.op("LogSoftmax", c.input(17, 1000), axis=-1))
    for width in (64, 768, 1025, 8192):
        c = Case(f"layer_norm_{width}", kind)
        yield c.end(c.op("LayerNormalization", c.input(11, width), c.weight(width), c.weight(width), axis=-1))
    c = Case("layer_norm_of_sum", kind)
    yield c.end(c.op("LayerNormalization", c.op("Add", c.input(2, 9, 384), c.input(2, 9, 384)), c.weight(384), c.weight(384), axis=-1))
    c = Case("layer_norm_two_axes", kind)
    yield c.end(c.op("LayerNormalization", c.input(5, 12, 30), c.weight(12, 30), c.weight(12, 30), axis=-2))
    c = Case("instance_norm_volume", kind)
    yield c.end(c.op("InstanceNormalization", c.input(1, 6, 24, 24, 24), c.weight(6), c.weight(6)))
    c = Case("instance_norm_prelu", kind)
    y = c.op("InstanceNormalization", c.input(2, 8, 20, 20), c.weight(8), c.weight(8))
    yield c.end(c.op("PRelu", y, c.weight(1)))
    c = Case("batch_norm", kind)
    yield c.end(c.op("BatchNormalization", c.input(2, 12, 9, 9), c.weight(12), c.weight(12), c.weight(12),
                     c.constant(np.abs(numbers(c.rng, 12)) + np.float32(0.5))))
    for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceSumSquare"):
        for name, axes in (("last", [2]), ("first", [0]), ("middle", [1]), ("outer", [0, 2]), ("all", [0, 1, 2])):
            c = Case(f"{op}_{name}", kind)
            yield c.end(c.op(op, c.input(37, 129, 65), c.ints(*axes), keepdims=int(name != "middle")))
    c = Case("reduce_long_row", kind)
    yield c.end(c.op("ReduceMean", c.input(2, 200000), c.ints(1)))


def elements(kind: str) -> Iterator[tuple]:
    for op in ("Abs", "Ceil", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "Neg", "Relu",
               "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Tanh"):
        c = Case(f"unary_{op}", kind)
        yield c.end(c.op(op, c.input(3, 1001)))
    for op in ("Log", "Sqrt", "Reciprocal"):
        c = Case(f"unary_{op}", kind)
        yield c.end(c.op(op, c.op("Add", c.op("Abs", c.input(3, 1001)), c.constant(np.float32(0.5)))))
    for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Less", "Greater", "Equal"):
        for name, a, b in (("same", (5, 7, 33), (5, 7, 33)), ("column", (5, 7, 33), (7, 1)), ("row", (4, 1, 130), (1, 6, 130)), ("scalar", (9, 65), ())):
            c = Case(f"binary_{op}_{name}", kind)
            yield c.end(c.op(op, c.input(*a), c.input(*b)))
    c = Case("elements_a_million", kind)
    yield c.end(c.op("Mul", c.op("Sigmoid", c.input(1024, 1030)), c.weight(1030, size=1)))
    c = Case("where_of_mask", kind)
    mask = c.input(3, 1, 40, kind=TensorProto.BOOL, values=c.rng.random((3, 1, 40)) < 0.5)
    yield c.end(c.op("Where", mask, c.input(3, 12, 40), c.constant(np.float32(-30000))))


def moves(kind: str) -> Iterator[tuple]:
    for perm in ((0, 2, 1, 3), (0, 3, 1, 2), (3, 2, 1, 0), (0, 1, 3, 2)):
        c = Case("transpose_" + "".join(map(str, perm)), kind)
        yield c.end(c.op("Relu", c.op("Transpose", c.input(3, 17, 33, 20), perm=list(perm))))
    c = Case("concat_uneven", kind)
    yield c.end(c.op("Concat", c.input(2, 5, 33), c.input(2, 1, 33), c.op("Relu", c.input(2, 7, 33)), axis=1))
    c = Case("concat_last", kind)
    yield c.end(c.op("Concat", c.input(9, 33), c.input(9, 8), axis=1))
    c = Case("split_then_add", kind)
    a, b, d = c.op("Split", c.input(4, 3 * 24), axis=1, num_outputs=3, outputs=3)
    yield c.end(c.op("Add", c.op("Mul", a, b), d))
    c = Case("slice_steps", kind)
    yield c.end(c.op("Neg", c.op("Slice", c.input(12, 33, 20), c.ints(1, 30), c.ints(11, 2), c.ints(0, 1), c.ints(3, -2))))
    c = Case("pad", kind)
    yield c.end(c.op("Pad", c.input(2, 9, 11), c.ints(0, 1, 2, 1, 0, 3)))
    c = Case("expand_add", kind)
    yield c.end(c.op("Add", c.op("Expand", c.input(5, 1, 9), c.ints(5, 7, 9)), c.input(9)))
    c = Case("embedding", kind)
    ids = c.input(3, 40, kind=TensorProto.INT64, values=c.rng.integers(-500, 500, (3, 40)))
    yield c.end(c.op("Gather", c.weight(500, 96, size=1), ids))
    c = Case("gather_middle", kind)
    ids = c.input(7, kind=TensorProto.INT64, values=c.rng.integers(0, 12, 7))
    yield c.end(c.op("Gather", c.input(5, 12, 33), ids, axis=1))
    c = Case("heads_repeated", kind)
    y = c.op("Expand", c.input(2, 3, 1, 8, 9), c.ints(2, 3, 2, 8, 9))
    yield c.end(c.op("MatMul", c.input(2, 6, 5, 8), c.op("Reshape", y, c.ints(2, 6, 8, 9))))
    c = Case("shuffle", kind)
    y = c.op("Reshape", c.input(1, 12, 9, 7), c.ints(1, 3, 4, 9, 7))
    yield c.end(c.op("Relu", c.op("Reshape", c.op("Transpose", y, perm=[0, 2, 1, 3, 4]), c.ints(1, 12, 9, 7))))


def blocks(kind: str) -> Iterator[tuple]:
    for name, heads, depth, length, past in (("short", 4, 32, 17, 0), ("long", 2, 64, 130, 0), ("cached", 3, 64, 1, 77)):
        c = Case(f"attention_{name}", kind)
        q, k, v = c.input(2, heads, length, depth), c.input(2, heads, length, depth), c.input(2, heads, length, depth)
        if past:
            k = c.op("Concat", c.input(2, heads, past, depth), k, axis=2)
            v = c.op("Concat", c.input(2, heads, past, depth), v, axis=2)
        scores = c.op("Mul", c.op("MatMul", q, c.op("Transpose", k, perm=[0, 1, 3, 2])), c.constant(np.float32(depth**-0.5)))
        if not past:
            mask = np.where(np.tril(np.ones((length, length))) > 0, 0, -30000).astype(np.float32)
            scores = c.op("Add", scores, c.constant(mask))
        yield c.end(*([c.op("MatMul", c.op("Softmax", scores, axis=-1), v)] + ([k, v] if past else [])))
    for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        for direction, count in (("forward", 1), ("bidirectional", 2)):
            for hidden in (24, 128):
                c = Case(f"{op}_{direction}_{hidden}", kind)
                y = c.op(op, c.input(9, 3, 40), c.weight(count, gates * hidden, 40, size=0.15), c.weight(count, gates * hidden, hidden, size=0.08),
                         c.weight(count, 2 * gates * hidden, size=0.1), hidden_size=hidden, direction=direction, outputs=3 if op == "LSTM" else 2)
                yield c.end(*y)


def quantised() -> Iterator[tuple]:
    f32, i8, u8 = np.float32, np.int8, np.uint8

    def weights(c: Case, *shape: int, per_channel: bool = True) -> tuple[str, str, str]:
        channels = shape[0] if per_channel else 1
        scale = (c.rng.random(channels) * 0.01 + 0.005).astype(f32)
        return (c.constant(c.rng.integers(-127, 128, shape, i8)), c.constant(scale if per_channel else scale[0]),
                c.constant(np.zeros(channels, i8) if per_channel else i8(0)))

    for zero, kind in ((0, i8), (117, u8)):
        c = Case(f"qdq_matmul_{np.dtype(kind).name}")
        scale, point = c.constant(f32(0.03)), c.constant(kind(zero))
        x = c.op("DequantizeLinear", c.op("QuantizeLinear", c.input(33, 64), scale, point), scale, point)
        w, ws, wz = weights(c, 64, 48, per_channel=False)
        y = c.op("Add", c.op("MatMul", x, c.op("DequantizeLinear", w, ws, wz)), c.weight(48))
        yield c.end(y)
        c = Case(f"qdq_conv_{np.dtype(kind).name}")
        scale, point = c.constant(f32(0.03)), c.constant(kind(zero))
        x = c.op("DequantizeLinear", c.op("QuantizeLinear", c.input(1, 16, 11, 12), scale, point), scale, point)
        w, ws, wz = weights(c, 32, 16, 3, 3)
        y = c.op("Relu", c.op("Conv", x, c.op("DequantizeLinear", w, ws, wz, axis=0), c.weight(32), pads=[1] * 4))
        out, zero_out = c.constant(f32(0.05)), c.constant(u8(0))
        yield c.end(c.op("QuantizeLinear", y, out, zero_out))
    c = Case("dynamic_quantised_matmul")
    q, scale, point = c.op("DynamicQuantizeLinear", c.input(20, 64), outputs=3)
    w, ws, wz = weights(c, 64, 40, per_channel=False)
    y = c.op("Cast", c.op("MatMulInteger", q, w, point, wz), to=TensorProto.FLOAT)
    yield c.end(c.op("Mul", y, c.op("Mul", scale, ws)))


def cases() -> Iterator[tuple[str, onnx.ModelProto, list[np.ndarray]]]:
    for kind in TYPES:
        for group in (products, convolutions, windows, rows, elements, moves, blocks):
            yield from group(kind)
    yield from quantised()
