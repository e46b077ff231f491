"""Standard networks with seeded weights, for benchmarks: their speed does not depend on what they have learnt.

    standard.py FOLDER     makes FOLDER/<model>/… as models.py does

In the form that torch's exporter writes for inference: batch normalisation folded into convolutions.
"""
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper

from models import Graph, minilm, write


class Network(Graph):
    """Layers with weights of the size that keeps activations at about 1."""

    def __init__(self, seed):
        super().__init__()
        self.random = np.random.default_rng(seed)

    def weight(self, *shape, inputs, gain=2.0):
        return self.constant(self.random.normal(0, np.sqrt(gain / inputs), shape).astype(np.float32))

    def bias(self, count):
        return self.constant(self.random.normal(0, 0.01, count).astype(np.float32))

    def conv(self, x, into, out, kernel, stride=1, groups=1, spatial=2, gain=2.0):
        window = [kernel] * spatial
        return self.op("Conv", x,
                       self.weight(out, into // groups, *window, inputs=into // groups * kernel**spatial, gain=gain),
                       self.bias(out), kernel_shape=window, strides=[stride] * spatial, group=groups,
                       pads=[kernel // 2] * (2 * spatial), dilations=[1] * spatial)

    def classify(self, x, channels):
        pooled = self.op("Flatten", self.op("GlobalAveragePool", x), axis=1)
        weights = self.weight(1000, channels, inputs=channels, gain=1.0)
        self.nodes.append(helper.make_node("Gemm", [pooled, weights, self.bias(1000)], ["scores"], transB=1))

    def model(self, name, inputs, outputs):
        value = lambda n, s: helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
        graph = helper.make_graph(self.nodes, name, [value(*each) for each in inputs],
                                  [value(*each) for each in outputs], self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString()


def resnet50():
    """He et al. 2015, in the variant with the stride in the 3x3 convolution (torchvision's)."""
    g = Network(50)
    x = g.op("Relu", g.conv("image", 3, 64, 7, stride=2))
    x = g.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            y = g.op("Relu", g.conv(x, channels, width, 1))
            y = g.op("Relu", g.conv(y, width, width, 3, stride=stride))
            y = g.conv(y, width, width * 4, 1, gain=0.2)
            if block == 0:
                x = g.conv(x, channels, width * 4, 1, stride=stride, gain=1.0)
            channels = width * 4
            x = g.op("Relu", g.op("Add", y, x))
    g.classify(x, channels)
    return g.model("resnet50", [("image", ["batch", 3, 224, 224])], [("scores", ["batch", 1000])])


def mobilenet_v2():
    """Sandler et al. 2018, width 1."""
    g = Network(2)
    zero, six = g.constant(np.float32(0)), g.constant(np.float32(6))
    relu6 = lambda x: g.op("Clip", x, zero, six)
    x = relu6(g.conv("image", 3, 32, 3, stride=2))
    channels = 32
    for expansion, out, blocks, first_stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                                                 (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            y, wide = x, channels * expansion
            if expansion > 1:
                y = relu6(g.conv(y, channels, wide, 1))
            y = relu6(g.conv(y, wide, wide, 3, stride=stride, groups=wide))
            y = g.conv(y, wide, out, 1, gain=1.0)
            x = g.op("Add", x, y) if stride == 1 and channels == out else y
            channels = out
    x = relu6(g.conv(x, channels, 1280, 1))
    g.classify(x, 1280)
    return g.model("mobilenet_v2", [("image", ["batch", 3, 224, 224])], [("scores", ["batch", 1000])])


def unet3d():
    """Cicek et al. 2016 with instance normalisation, as segmentation of medical images has it (nnU-Net)."""
    g = Network(3)

    def block(x, into, out):
        for channels in (into, out):
            x = g.conv(x, channels, out, 3, spatial=3)
            x = g.op("InstanceNormalization", x, g.constant(np.ones(out, np.float32)), g.bias(out), epsilon=1e-5)
            x = g.op("LeakyRelu", x, alpha=0.01)
        return x

    widths = (16, 32, 64, 128)
    x, into, kept = "volume", 1, []
    for width in widths:
        if kept:
            x = g.op("MaxPool", x, kernel_shape=[2] * 3, strides=[2] * 3)
        x = block(x, into, width)
        kept.append(x)
        into = width
    for width, skip in zip(widths[-2::-1], kept[-2::-1]):
        x = g.op("ConvTranspose", x, g.weight(into, width, 2, 2, 2, inputs=into), g.bias(width),
                 kernel_shape=[2] * 3, strides=[2] * 3)
        x = block(g.op("Concat", skip, x, axis=1), 2 * width, width)
        into = width
    g.nodes.append(helper.make_node("Conv", [x, g.weight(2, into, 1, 1, 1, inputs=into), g.bias(2)], ["classes"],
                                    kernel_shape=[1] * 3))
    volume = ["batch", 1, "depth", "height", "width"]
    return g.model("unet3d", [("volume", volume)], [("classes", ["batch", 2, *volume[2:]])])


def vit_tiny():
    """Dosovitskiy et al. 2020, with patches of 16 (timm's): queries, keys and values are one product, taken apart by a
    Transpose of five dimensions and three Gathers."""
    g = Network(16)
    width, heads, tokens = 192, 3, 197
    depth = width // heads
    f32 = lambda v: g.constant(np.float32(v))
    i64 = lambda v: g.constant(np.asarray(v, np.int64))
    linear = lambda x, into, out: g.op("Add", g.op("MatMul", x, g.weight(into, out, inputs=into, gain=1.0)), g.bias(out))
    norm = lambda x: g.op("LayerNormalization", x, g.constant(np.ones(width, np.float32)), g.bias(width), axis=-1,
                          epsilon=1e-6)

    x = g.op("Conv", "image", g.weight(width, 3, 16, 16, inputs=3 * 16 * 16, gain=1.0), g.bias(width),
             kernel_shape=[16, 16], strides=[16, 16])
    batch = g.op("Slice", g.op("Shape", x), i64([0]), i64([1]), i64([0]))
    x = g.op("Reshape", x, g.op("Concat", batch, i64([width, -1]), axis=0))
    x = g.op("Transpose", x, perm=[0, 2, 1])
    first = g.op("Expand", g.weight(1, 1, width, inputs=width), g.op("Concat", batch, i64([1, 1]), axis=0))
    x = g.op("Add", g.op("Concat", first, x, axis=1), g.weight(1, tokens, width, inputs=width))
    apart = g.op("Concat", batch, i64([tokens, 3, heads, depth]), axis=0)
    joined = g.op("Concat", batch, i64([tokens, width]), axis=0)
    for _ in range(12):
        qkv = g.op("Reshape", linear(norm(x), width, 3 * width), apart)
        qkv = g.op("Transpose", qkv, perm=[2, 0, 3, 1, 4])
        q, k, v = (g.op("Gather", qkv, i64(i), axis=0) for i in range(3))
        scores = g.op("MatMul", g.op("Mul", q, f32(depth**-0.5)), g.op("Transpose", k, perm=[0, 1, 3, 2]))
        y = g.op("MatMul", g.op("Softmax", scores, axis=-1), v)
        y = g.op("Reshape", g.op("Transpose", y, perm=[0, 2, 1, 3]), joined)
        x = g.op("Add", x, linear(y, width, width))
        y = linear(norm(x), width, 4 * width)
        y = g.op("Mul", g.op("Mul", y, g.op("Add", g.op("Erf", g.op("Div", y, f32(np.sqrt(2)))), f32(1))), f32(0.5))
        x = g.op("Add", x, linear(y, 4 * width, width))
    x = g.op("Gather", norm(x), i64(0), axis=1)
    g.nodes.append(helper.make_node("Gemm", [x, g.weight(1000, width, inputs=width, gain=1.0), g.bias(1000)], ["scores"],
                                    transB=1))
    return g.model("vit_tiny", [("image", ["batch", 3, 224, 224])], [("scores", ["batch", 1000])])


def bert_base():
    """Devlin et al. 2018: 12 layers of 768, with MiniLM's pooling behind it."""
    random = np.random.default_rng(12)
    config = {"num_attention_heads": 12, "hidden_size": 768, "num_hidden_layers": 12, "layer_norm_eps": 1e-12}
    weights = {}

    def linear(name, into, out):
        weights[f"{name}.weight"] = random.normal(0, 0.02, (out, into)).astype(np.float32)
        weights[f"{name}.bias"] = random.normal(0, 0.01, out).astype(np.float32)

    def norm(name):
        weights[f"{name}.weight"], weights[f"{name}.bias"] = np.ones(768, np.float32), np.zeros(768, np.float32)

    for name, rows in (("word", 30522), ("position", 512), ("token_type", 2)):
        weights[f"embeddings.{name}_embeddings.weight"] = random.normal(0, 0.02, (rows, 768)).astype(np.float32)
    norm("embeddings.LayerNorm")
    for i in range(12):
        layer = f"encoder.layer.{i}"
        for name in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{name}", 768, 768)
        linear(f"{layer}.attention.output.dense", 768, 768)
        norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", 768, 3072)
        linear(f"{layer}.output.dense", 3072, 768)
        norm(f"{layer}.output.LayerNorm")
    return minilm(weights, config, decomposed=False)


def tokens(random, length):
    ids = random.integers(1000, 30000, (1, length))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(1)
    normal = lambda *shape: random.normal(0, 1, shape).astype(np.float32)
    write(folder, "resnet50", resnet50(), [{"image": normal(1, 3, 224, 224)}])
    write(folder, "mobilenet_v2", mobilenet_v2(), [{"image": normal(1, 3, 224, 224)}])
    write(folder, "vit_tiny", vit_tiny(), [{"image": normal(1, 3, 224, 224)}])
    write(folder, "unet3d", unet3d(), [{"volume": normal(1, 1, 64, 64, 64)}])
    write(folder, "bert_base", bert_base(), [tokens(random, 128)])
    (folder / ".complete").touch()


if __name__ == "__main__":
    main()
