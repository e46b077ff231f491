"""The models that measure.py runs: torch modules with seeded weights, and their ONNX files.

Plain torch, but for ResNet-50 (torchvision). Each exists in a small form too:
few layers, small inputs, for a test of the exports on a machine without a GPU.
"""
from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F


# Of models that are files; carry.sh brings them.
FILES = pathlib.Path(__file__).resolve().parents[2] / "build" / "gpu-carry" / "models"


@dataclasses.dataclass
class Model:
    """module(*inputs(batch)) is what is measured; names are those of its inputs and outputs in the ONNX file. file: the
    model is this file, and the module was made from it."""

    module: nn.Module
    inputs: Callable[[int], tuple[torch.Tensor, ...]]
    names: list[str]
    outputs: list[str]
    file: pathlib.Path | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of the table: a model at one size, and the milliseconds that are its goal on an H100, if there is one."""

    name: str
    make: Callable[[bool], Model]
    batch: int
    goal: float | None = None

    @property
    def case(self) -> str:
        return f"{self.name} b{self.batch}"


def resnet50(small: bool = False) -> Model:
    import torchvision

    if small:
        net = torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1], num_classes=10)
        size = 64
    else:
        net, size = torchvision.models.resnet50(weights=None), 224
    # As trained networks have them: not all at rest, and the residual stream of bounded size.
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.running_mean, -0.1, 0.1)
            nn.init.uniform_(m.running_var, 0.5, 1.5)
        if isinstance(m, torchvision.models.resnet.Bottleneck):
            nn.init.constant_(m.bn3.weight, 0.3)
    return Model(net, lambda n: (torch.randn(n, 3, size, size),), ["image"], ["scores"])


class EncoderLayer(nn.Module):
    """Of BERT: normalised behind each half."""

    def __init__(self, width: int, heads: int, inner: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.ln_1, self.ln_2 = nn.LayerNorm(width, eps=1e-12), nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        n, length, width = x.shape
        q, k, v = (p(x).view(n, length, self.heads, width // self.heads).transpose(1, 2) for p in (self.query, self.key, self.value))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = self.ln_1(x + self.output(y.transpose(1, 2).reshape(n, length, width)))
        return self.ln_2(x + self.down(F.gelu(self.up(x))))


class Encoder(nn.Module):
    """BERT; pooled: the mean over the words, of length 1, as sentence embeddings are."""

    def __init__(self, layers: int, width: int, heads: int, inner: int, vocabulary: int, pooled: bool):
        super().__init__()
        self.pooled = pooled
        self.words, self.positions, self.kinds = (nn.Embedding(n, width) for n in (vocabulary, 512, 2))
        self.ln = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(EncoderLayer(width, heads, inner) for _ in range(layers))
        for m in self.modules():
            if isinstance(m, (nn.Linear, nn.Embedding)):
                nn.init.normal_(m.weight, std=0.02)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        x = self.ln(self.words(ids) + self.positions.weight[: ids.shape[1]] + self.kinds(kinds))
        seen = mask.bool()[:, None, None, :]
        for layer in self.layers:
            x = layer(x, seen)
        if not self.pooled:
            return x
        weight = mask.unsqueeze(-1).to(x.dtype)
        return F.normalize((x * weight).sum(1) / weight.sum(1).clamp(min=1e-9), dim=-1)


def encoder(small: bool, pooled: bool, layers: int, width: int, heads: int, inner: int) -> Model:
    length, vocabulary = 128, 30522
    if small:
        layers, width, heads, inner, length, vocabulary = 1, 64, 4, 128, 16, 500

    def inputs(n: int) -> tuple[torch.Tensor, ...]:
        mask = torch.ones(n, length, dtype=torch.int64)
        mask[1::2, length - length // 8 :] = 0  # every other text is shorter
        return torch.randint(0, vocabulary, (n, length)), mask, torch.zeros(n, length, dtype=torch.int64)

    return Model(Encoder(layers, width, heads, inner, vocabulary, pooled), inputs, ["ids", "mask", "kinds"],
                 ["sentence" if pooled else "hidden"])


def bert(small: bool = False) -> Model:
    return encoder(small, False, 12, 768, 12, 3072)


def minilm(small: bool = False) -> Model:
    """The configuration of all-MiniLM-L6-v2."""
    return encoder(small, True, 6, 384, 12, 1536)


class GptBlock(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor, past_key: torch.Tensor, past_value: torch.Tensor) -> tuple[torch.Tensor, ...]:
        n, length, width = x.shape
        parts = self.attention(self.ln_1(x)).split(width, dim=-1)
        q, k, v = (p.view(n, length, self.heads, width // self.heads).transpose(1, 2) for p in parts)
        k, v = torch.cat((past_key, k), dim=2), torch.cat((past_value, v), dim=2)
        # One new token sees all that came before it: there is nothing to mask.
        y = F.scaled_dot_product_attention(q, k, v)
        x = x + self.projection(y.transpose(1, 2).reshape(n, length, width))
        x = x + self.down(F.gelu(self.up(self.ln_2(x)), approximate="tanh"))
        return x, k, v


class Gpt(nn.Module):
    """GPT-2: one step, the cache of keys and values among inputs and outputs."""

    def __init__(self, layers: int, width: int, heads: int, vocabulary: int, positions: int):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.blocks = nn.ModuleList(GptBlock(width, heads) for _ in range(layers))
        self.ln = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        for m in self.modules():
            if isinstance(m, (nn.Linear, nn.Embedding)):
                nn.init.normal_(m.weight, std=0.02)

    def forward(self, ids: torch.Tensor, position: torch.Tensor, *past: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.tokens(ids) + self.positions(position)
        present = []
        for i, block in enumerate(self.blocks):
            x, k, v = block(x, past[2 * i], past[2 * i + 1])
            present += [k, v]
        return self.head(self.ln(x)), *present


def gpt2(past: int, small: bool = False) -> Model:
    """GPT-2 124M after `past` tokens."""
    if small:
        layers, width, heads, vocabulary, past = 2, 64, 4, 300, min(past, 12)
    else:
        layers, width, heads, vocabulary = 12, 768, 12, 50257
    net = Gpt(layers, width, heads, vocabulary, 1024)

    def inputs(n: int) -> tuple[torch.Tensor, ...]:
        cache = [torch.randn(n, heads, past, width // heads) for _ in range(2 * layers)]
        return torch.randint(0, vocabulary, (n, 1)), torch.full((n, 1), past), *cache

    def names(kind: str) -> list[str]:
        return [f"{kind}.{i}.{what}" for i in range(layers) for what in ("key", "value")]

    return Model(net, inputs, ["ids", "position", *names("past")], ["logits", *names("present")])


class UNet3d(nn.Module):
    """The plain U-Net of medical imaging in the form that MONAI's UNet has without residual units: strided
    convolutions down, transposed ones up, instance normalisation and PReLU behind each."""

    def __init__(self, widths: tuple[int, ...], classes: int):
        super().__init__()

        def layer(conv: nn.Module, width: int) -> nn.Module:
            return nn.Sequential(conv, nn.InstanceNorm3d(width), nn.PReLU())

        into = (1, *widths[:-2])
        self.down = nn.ModuleList(layer(nn.Conv3d(a, b, 3, 2, 1), b) for a, b in zip(into, widths[:-1]))
        self.bottom = layer(nn.Conv3d(widths[-2], widths[-1], 3, 1, 1), widths[-1])
        below, out = (widths[-1], *widths[-3::-1]), (*widths[-3::-1], classes)
        self.up = nn.ModuleList()
        for i, (a, skip, b) in enumerate(zip(below, widths[-2::-1], out)):
            conv = nn.ConvTranspose3d(a + skip, b, 3, 2, 1, 1)
            self.up.append(conv if i + 1 == len(out) else layer(conv, b))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = []
        for layer in self.down:
            x = layer(x)
            kept.append(x)
        x = self.bottom(x)
        for layer in self.up:
            x = layer(torch.cat((kept.pop(), x), dim=1))
        return x


def unet3d(size: int, small: bool = False) -> Model:
    if small:
        net, size = UNet3d((4, 8, 16), 2), 16
    else:
        net = UNet3d((16, 32, 64, 128, 256), 2)
    return Model(net, lambda n: (torch.randn(n, 1, size, size, size),), ["volume"], ["classes"])


def ppocr(kind: str, height: int, width: int, batch: int, small: bool = False) -> Model:
    """PP-OCRv4 as the PyPI package rapidocr-onnxruntime has it: detection (det) or recognition (rec) of text."""
    import onnx

    from onnx_torch import OnnxModule

    file = FILES / f"ch_PP-OCRv4_{kind}_infer.onnx"
    if not file.exists():
        raise FileNotFoundError(f"{file} is not there: see benchmarks/gpu/carry.sh")
    if small:
        height, width = (64, 64) if kind == "det" else (48, 32)
    model = onnx.load(str(file))

    def inputs(n: int) -> tuple[torch.Tensor, ...]:
        # Rows of dark glyphs on white: on anything else the detector answers 0 everywhere.
        x = torch.full((n, 3, height, width), 2.0)
        for top in range(12, height - 14, 28):
            for left in range(12, width - 12, 9):
                x[:, :, top : top + 14, left : left + 6] -= 3.5 * (torch.rand(14, 6) < 0.55)
        return (x,)

    return Model(OnnxModule(model, inputs(batch)), inputs, ["x"], [o.name for o in model.graph.output], file)


ROWS = [
    *(Row("resnet50", resnet50, n, goal) for n, goal in ((1, 0.50), (8, 0.70), (32, 1.3), (128, 4.0))),
    *(Row("bert-base s128", bert, n, goal) for n, goal in ((1, 0.50), (8, 0.75), (32, 1.8))),
    *(Row("minilm s128", minilm, n) for n in (1, 8, 32)),
    *(Row(f"gpt2 step, past {past}", lambda small, past=past: gpt2(past, small), 1) for past in (1, 128, 512)),
    *(Row(f"unet3d {size}", lambda small, size=size: unet3d(size, small), 1) for size in (96, 128)),
    Row("ppocrv4 det 640x640", lambda small: ppocr("det", 640, 640, 1, small), 1),
    *(Row("ppocrv4 rec 48x320", lambda small, n=n: ppocr("rec", 48, 320, n, small), n) for n in (1, 8)),
]


def build(row: Row, small: bool = False) -> Model:
    torch.manual_seed(0)
    model = row.make(small)
    model.module.eval().requires_grad_(False)
    return model


def inputs_of(row: Row, model: Model) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    return model.inputs(row.batch)


def export(model: Model, inputs: tuple[torch.Tensor, ...], file: pathlib.Path) -> None:
    """The module as ONNX with just these shapes."""
    if model.file is not None:
        file.write_bytes(model.file.read_bytes())
        return
    with torch.no_grad():
        made = torch.onnx.export(model.module, inputs, input_names=model.names, output_names=model.outputs,
                                 opset_version=18, dynamo=True, verbose=False)
    made.save(str(file), external_data=False)


def half_ends(file: pathlib.Path) -> None:
    """Makes the float32 inputs and outputs of a model float16, as those of a torch module in half precision are."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(str(file))
    graph = model.graph
    first, last = [], []
    for value in graph.input:
        if value.type.tensor_type.elem_type != TensorProto.FLOAT:
            continue
        inner = "float32 " + value.name
        for node in graph.node:
            node.input[:] = [inner if name == value.name else name for name in node.input]
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
        first.append(helper.make_node("Cast", [value.name], [inner], to=TensorProto.FLOAT))
    for value in graph.output:
        if value.type.tensor_type.elem_type != TensorProto.FLOAT:
            continue
        inner = "float32 " + value.name
        for node in graph.node:
            node.input[:] = [inner if name == value.name else name for name in node.input]
            node.output[:] = [inner if name == value.name else name for name in node.output]
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
        last.append(helper.make_node("Cast", [inner], [value.name], to=TensorProto.FLOAT16))
    nodes = [*first, *graph.node, *last]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    onnx.save(model, str(file))


def work(model: Model, inputs: tuple[torch.Tensor, ...], size: int = 2) -> tuple[float, float]:
    """Floating point operations of products and convolutions, and bytes that must move: weights, inputs, outputs, floats
    of `size` bytes each. Counted on shapes alone."""
    from torch.utils.flop_counter import FlopCounterMode

    def moved(t: torch.Tensor) -> int:
        return t.numel() * (size if t.is_floating_point() else t.element_size())

    with torch.device("meta"), torch.no_grad():
        import copy

        module = copy.deepcopy(model.module).to("meta")
        with FlopCounterMode(display=False) as counter:
            results = module(*[t.to("meta") for t in inputs])
    results = results if isinstance(results, tuple) else (results,)
    # An embedding reads the rows that it is asked for.
    tables = {id(m.weight): m for m in model.module.modules() if isinstance(m, nn.Embedding)}
    read = {id(m.weight) for m in model.module.modules() if isinstance(m, nn.Linear)}
    weights = [p for p in (*model.module.parameters(), *model.module.buffers()) if id(p) not in tables or id(p) in read]
    return float(counter.get_total_flops()), float(sum(moved(t) for t in (*weights, *inputs, *results)))


def relative_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """By the 2-norm."""
    a, b = a.double().flatten(), b.double().flatten()
    return float((a - b).norm()) / max(float(b.norm()), math.ulp(1.0))
