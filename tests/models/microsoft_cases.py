"""Cases of the domain com.microsoft, answered by ONNX Runtime.

    microsoft_cases.py FOLDER      writes FOLDER/<case>/model.onnx, *.npy and cases.txt (as node_cases.py does)
"""

import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import helper

rng = np.random.default_rng(7)


def floats(*shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def bytes_of(*shape, low=0, high=256, dtype=np.uint8):
    return rng.integers(low, high, shape).astype(dtype)


def one(value, dtype=np.float32):
    return np.array(value, dtype)


def caches(positions, half):
    angles = np.outer(np.arange(positions), 1 / 100 ** (np.arange(half) / half))
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def case(name, op, inputs, outputs=("y",), domain="com.microsoft", rtol=1e-4, atol=1e-5, **attributes):
    """inputs: arrays, None where one is left out. outputs: names, "" where one is left out."""
    names = ["" if array is None else f"x{i}" for i, array in enumerate(inputs)]
    node = helper.make_node(op, names, list(outputs), domain=domain, **attributes)
    given = {n: a for n, a in zip(names, inputs) if a is not None}
    graph = helper.make_graph(
        [node],
        name,
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in given.items()],
        [helper.make_value_info(o, onnx.TypeProto()) for o in outputs if o],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    answers = onnxruntime.InferenceSession(model.SerializeToString()).run(None, given)
    # Outputs with their types, as a model from anywhere else has them.
    for info, answer in zip(model.graph.output, answers):
        info.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(answer.dtype)
    folder = pathlib.Path(sys.argv[1]) / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    lines = []
    for kind, values in (("input", given.items()), ("output", zip([o for o in outputs if o], answers))):
        for k, (value, array) in enumerate(values):
            np.save(folder / f"{kind}{k}.npy", np.asarray(array, order="C"))
            lines.append(f"0\t{kind}\t{kind}{k}.npy\t{value}")
    (folder / "cases.txt").write_text("\n".join([*lines, f"0\ttolerance\t{rtol}\t{atol}"]) + "\n")


def main():
    x = floats(2, 5, 12)
    case("gelu", "Gelu", [x])
    case("fast_gelu", "FastGelu", [x, floats(12)], atol=1e-4)
    case("bias_gelu", "BiasGelu", [x, floats(12)])
    case("quick_gelu", "QuickGelu", [x], alpha=1.5)
    norm = [x, floats(2, 5, 12), floats(12), floats(12), floats(12)]
    case("skip_layer_norm", "SkipLayerNormalization", norm, ["y", "", "", "sum"], epsilon=1e-5)
    case("skip_layer_norm_shared", "SkipLayerNormalization", [x, floats(1, 5, 12), floats(12)])
    case("skip_simplified", "SkipSimplifiedLayerNormalization", [x, floats(2, 5, 12), floats(12)], ["y", "", "", "sum"])
    case("simplified_norm", "SimplifiedLayerNormalization", [x, floats(12)], domain="", axis=-1, epsilon=1e-5)
    ids = bytes_of(2, 5, high=9, dtype=np.int32)
    case("embed_norm", "EmbedLayerNormalization",
         [ids, bytes_of(2, 5, high=2, dtype=np.int32), floats(9, 8), floats(7, 8), floats(2, 8), floats(8), floats(8)],
         ["y", "mask"], epsilon=1e-6)

    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
    packed = [x, floats(12, 36, scale=0.3), floats(36)]
    case("attention", "Attention", packed, num_heads=3)
    case("attention_causal", "Attention", packed, num_heads=3, unidirectional=1)
    case("attention_mask", "Attention", [*packed, mask], num_heads=3)
    case("attention_lengths", "Attention", [*packed, np.array([3, 5], np.int32)], num_heads=3)
    case("attention_past", "Attention", [*packed, None, floats(2, 2, 3, 4, 4)], ["y", "present"], num_heads=3)
    case("attention_bias", "Attention", [*packed, None, None, floats(1, 3, 5, 5)], num_heads=3)
    key, value = floats(2, 6, 12), floats(2, 6, 9)
    case("multi_head", "MultiHeadAttention", [x, key, value], num_heads=3)
    case("multi_head_bias", "MultiHeadAttention", [x, key, value, floats(33)], num_heads=3)
    case("multi_head_mask", "MultiHeadAttention",
         [x, floats(2, 5, 12), floats(2, 5, 12), None, mask, floats(2, 1, 5, 5)], num_heads=3)
    case("multi_head_past", "MultiHeadAttention",
         [x, floats(2, 5, 12), floats(2, 5, 12), None, None, None, floats(2, 3, 4, 4), floats(2, 3, 4, 4)],
         ["y", "key", "value"], num_heads=3)

    def grouped(rows, held, **more):
        total = rows + held
        cosine, sine = caches(32, 8)
        past = [floats(2, 2, held, 16), floats(2, 2, held, 16)] if held else [None, None]
        return [floats(2, rows, 64), floats(2, rows, 32), floats(2, rows, 32), *past,
                np.full(2, total - 1, np.int32), one(total, np.int32), *((cosine, sine) if more.get("rotary") else ())]

    outputs = ["y", "key", "value"]
    case("group_query", "GroupQueryAttention", grouped(5, 0), outputs, num_heads=4, kv_num_heads=2)
    case("group_query_step", "GroupQueryAttention", grouped(1, 6), outputs, num_heads=4, kv_num_heads=2)
    case("group_query_rotary", "GroupQueryAttention", grouped(5, 0, rotary=True), outputs, num_heads=4,
         kv_num_heads=2, do_rotary=1)
    case("group_query_rotary_step", "GroupQueryAttention", grouped(1, 6, rotary=True), outputs, num_heads=4,
         kv_num_heads=2, do_rotary=1, rotary_interleaved=1)
    case("group_query_window", "GroupQueryAttention", grouped(5, 0), outputs, num_heads=4, kv_num_heads=2,
         local_window_size=2)
    cosine, sine = caches(32, 4)
    case("rotary", "RotaryEmbedding", [floats(2, 5, 24), one([3], np.int64), cosine, sine])
    case("rotary_positions", "RotaryEmbedding",
         [floats(2, 3, 5, 8), bytes_of(2, 5, high=32, dtype=np.int64), cosine, sine], interleaved=1)

    a = floats(2, 3, 40)
    blocks = [bytes_of(7, 3, 8), floats(21)]
    case("matmul_n_bits", "MatMulNBits", [a, *blocks], K=40, N=7, bits=4, block_size=16)
    case("matmul_n_bits_zero", "MatMulNBits", [a, *blocks, bytes_of(14)], K=40, N=7, bits=4, block_size=16)
    weights = bytes_of(12, 7)
    case("dynamic_quantize_matmul", "DynamicQuantizeMatMul",
         [x, weights, floats(7) ** 2, bytes_of(7), floats(7)], atol=2e-2)
    case("matmul_integer_to_float", "MatMulIntegerToFloat",
         [bytes_of(2, 5, 12), weights, one(0.1), one(0.2), one(9, np.uint8), one(120, np.uint8), floats(7)])
    case("fused_matmul", "FusedMatMul", [floats(2, 4, 3), floats(5, 4)], transA=1, transB=1, alpha=0.5)
    left = [bytes_of(5, 12), one(0.1), one(9, np.uint8)]
    right = [bytes_of(7, 12), one(0.2), one(120, np.uint8)]
    bias = bytes_of(7, dtype=np.int32)
    case("qgemm", "QGemm", [*left, *right, bias, one(30), one(50, np.uint8)], rtol=0, atol=1, transB=1)
    case("qgemm_floats", "QGemm", [*left, *right, bias], transB=1, alpha=0.5)
    quantised = [bytes_of(2, 3, 4), one(0.1), one(7, np.uint8)]
    other = [bytes_of(3, 4), one(0.2), one(100, np.uint8)]
    to = [one(0.3), one(50, np.uint8)]
    case("qlinear_add", "QLinearAdd", quantised + other + to, rtol=0, atol=1)
    case("qlinear_mul", "QLinearMul", quantised + other + to, rtol=0, atol=1)
    case("qlinear_sigmoid", "QLinearSigmoid", quantised + [one(1 / 256), one(0, np.uint8)], rtol=0, atol=1)
    case("qlinear_leaky_relu", "QLinearLeakyRelu", quantised + to, rtol=0, atol=1, alpha=0.2)
    case("qlinear_pool", "QLinearGlobalAveragePool", [bytes_of(2, 3, 4, 4), *quantised[1:], *to], rtol=0, atol=1)
    (pathlib.Path(sys.argv[1]) / ".complete").touch()


if __name__ == "__main__":
    main()
