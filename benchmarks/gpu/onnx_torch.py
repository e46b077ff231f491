"""An ONNX model as a torch module, so that models that exist only as a file have a peer. The operators of PP-OCRv4.

Whatever is a matter of shapes is computed once, for the shapes of the example, and is constant from then on: what is
left is what a module written by hand would do.
"""
from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional as F


def _pads(values: list[int]) -> list[int]:
    """ONNX's begins and ends as F.pad wants them."""
    half = len(values) // 2
    return [p for d in reversed(range(half)) for p in (values[d], values[half + d])]


def _symmetric(values: list[int]) -> bool:
    half = len(values) // 2
    return values[:half] == values[half:]


def _windowed(x, a, function, spare=0.0):
    """A convolution or pooling; uneven pads are added before it."""
    rank = x.dim() - 2
    if a.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise NotImplementedError(f"auto_pad {a['auto_pad']}")
    pads = a.get("pads", [0] * 2 * rank)
    if not _symmetric(pads):
        x, pads = F.pad(x, _pads(pads), value=spare), [0] * 2 * rank
    return function(x, a.get("strides", [1] * rank), pads[:rank], a.get("dilations", [1] * rank))


def _conv(i, a):
    call = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[i[0].dim() - 2]
    bias = i[2] if len(i) > 2 else None
    return _windowed(i[0], a, lambda x, s, p, d: call(x, i[1], bias, s, p, d, a.get("group", 1)))


def _conv_transpose(i, a):
    call = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[i[0].dim() - 2]
    bias = i[2] if len(i) > 2 else None
    return _windowed(i[0], a, lambda x, s, p, d: call(x, i[1], bias, s, p, a.get("output_padding", [0] * len(s)), a.get("group", 1), d))


def _pool(i, a, call):
    def pool(x, strides, pads, _):
        extra = {"count_include_pad": bool(a.get("count_include_pad", 0))} if call is F.avg_pool2d else {}
        return call(x, a["kernel_shape"], strides, pads, ceil_mode=bool(a.get("ceil_mode", 0)), **extra)

    return _windowed(i[0], a, pool, spare=0.0 if call is F.avg_pool2d else -torch.inf)


def _slice(i, a):
    starts, ends = i[1], i[2]
    axes = i[3] if len(i) > 3 and i[3] is not None else list(range(len(starts)))
    steps = i[4] if len(i) > 4 else [1] * len(starts)
    x = i[0]
    for start, end, axis, step in zip(starts, ends, axes, steps):
        if step != 1:
            raise NotImplementedError("a slice with steps")
        size = x.shape[axis]
        begin, stop = (min(max(v + size if v < 0 else v, 0), size) for v in (start, end))
        x = x.narrow(axis, begin, stop - begin)
    return x


def _axes(i, a):
    return a.get("axes") or (i[1] if len(i) > 1 else None)


def _reshape(i, _):
    shape = [i[0].shape[d] if v == 0 else v for d, v in enumerate(i[1])]
    return i[0].reshape(shape)


def _squeeze(i, a):
    axes = _axes(i, a)
    return i[0].squeeze() if axes is None else i[0].squeeze([int(d) for d in axes])


def _resize(i, a):
    if a.get("mode", "nearest") != "nearest":
        raise NotImplementedError("a resize that is not of the nearest")
    if len(i) > 3 and i[3] is not None:
        return F.interpolate(i[0], size=[int(d) for d in i[3][2:]], mode="nearest")
    return F.interpolate(i[0], scale_factor=[float(s) for s in i[2][2:]], mode="nearest")


def _clip(i, a):
    least = i[1] if len(i) > 1 else None
    most = i[2] if len(i) > 2 else None
    return torch.clamp(i[0], a.get("min") if least is None else least, a.get("max") if most is None else most)


def _cast(i, a):
    types = {onnx.TensorProto.FLOAT: i[0].dtype if i[0].is_floating_point() else torch.float32, onnx.TensorProto.INT64: torch.int64,
             onnx.TensorProto.INT32: torch.int32, onnx.TensorProto.BOOL: torch.bool}
    return i[0].to(types[a["to"]])


OPERATORS = {
    "Add": lambda i, a: i[0] + i[1], "Sub": lambda i, a: i[0] - i[1], "Mul": lambda i, a: i[0] * i[1], "Div": lambda i, a: i[0] / i[1],
    "Pow": lambda i, a: i[0] * i[0] if i[1] == 2 else i[0] ** i[1],
    "Sqrt": lambda i, a: torch.sqrt(i[0]), "Relu": lambda i, a: torch.relu(i[0]), "Sigmoid": lambda i, a: torch.sigmoid(i[0]),
    "HardSigmoid": lambda i, a: torch.clamp(i[0] * a.get("alpha", 0.2) + a.get("beta", 0.5), 0, 1), "Clip": _clip, "Cast": _cast,
    "Identity": lambda i, a: i[0], "Shape": lambda i, a: torch.tensor(i[0].shape), "Conv": _conv, "ConvTranspose": _conv_transpose,
    "BatchNormalization": lambda i, a: F.batch_norm(i[0], i[3], i[4], i[1], i[2], False, 0.0, a.get("epsilon", 1e-5)),
    "GlobalAveragePool": lambda i, a: i[0].mean(dim=tuple(range(2, i[0].dim())), keepdim=True),
    "AveragePool": lambda i, a: _pool(i, a, F.avg_pool2d), "MaxPool": lambda i, a: _pool(i, a, F.max_pool2d),
    "Concat": lambda i, a: torch.cat(tuple(i), dim=a["axis"]), "Slice": _slice, "Reshape": _reshape, "Squeeze": _squeeze, "Resize": _resize,
    "Transpose": lambda i, a: i[0].permute(a["perm"]), "MatMul": lambda i, a: torch.matmul(i[0], i[1]),
    "ReduceMean": lambda i, a: i[0].mean(dim=_axes(i, a), keepdim=bool(a.get("keepdims", 1))),
    "Softmax": lambda i, a: torch.softmax(i[0], dim=a.get("axis", -1)),
}


# Inputs that say how, not what: numbers and lists of them for Python.
SETTINGS = {"Clip": 1, "Pow": 1, "ReduceMean": 1, "Reshape": 1, "Resize": 1, "Slice": 1, "Squeeze": 1}


def _plain(op_type: str, position: int, value: torch.Tensor | None, alone: bool):
    if value is None:
        return None
    if position >= SETTINGS.get(op_type, 9):
        return value.item() if value.numel() == 1 and op_type in ("Clip", "Pow") else value.tolist()
    # One number beside a tensor takes its type, as a number in Python does.
    return value.item() if alone and value.numel() == 1 and op_type in ("Add", "Sub", "Mul", "Div") else value


class OnnxModule(nn.Module):
    """forward(*inputs) with inputs of the shapes of the example."""

    def __init__(self, model: onnx.ModelProto, example: tuple[torch.Tensor, ...]):
        super().__init__()
        known = {t.name: torch.from_numpy(np.array(numpy_helper.to_array(t))) for t in model.graph.initializer}
        self.inputs = [i.name for i in model.graph.input if i.name not in known]
        self.outputs = [o.name for o in model.graph.output]
        # Operator, attributes, the output's name and for each input ("value", name), ("buffer", name) or ("plain", it).
        self.steps: list[tuple] = []
        values: dict[str, torch.Tensor | None] = {"": None, **known, **dict(zip(self.inputs, example))}
        fixed = set(known) | {""}
        buffers: dict[str, str] = {}
        for node in model.graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
            out = node.output[0]
            if node.op_type == "Constant":
                values[out] = torch.from_numpy(np.array(numpy_helper.to_array(attributes["value"])))
                fixed.add(out)
                continue
            still = all(n in fixed for n in node.input)
            given = [_plain(node.op_type, k, values[n], n in fixed and not still) for k, n in enumerate(node.input)]
            values[out] = OPERATORS[node.op_type](given, attributes)
            if still or not values[out].is_floating_point():
                fixed.add(out)
                continue
            sources = []
            for name, value in zip(node.input, given):
                if name not in fixed:
                    sources.append(("value", name))
                elif isinstance(value, torch.Tensor):
                    if name not in buffers:
                        buffers[name] = f"constant{len(buffers)}"
                        self.register_buffer(buffers[name], value)
                    sources.append(("buffer", buffers[name]))
                else:
                    sources.append(("plain", value))
            self.steps.append((node.op_type, attributes, out, sources))

    def forward(self, *inputs: torch.Tensor):
        values = dict(zip(self.inputs, inputs))
        for op_type, attributes, out, sources in self.steps:
            given = [values[what] if kind == "value" else getattr(self, what) if kind == "buffer" else what for kind, what in sources]
            values[out] = OPERATORS[op_type](given, attributes)
        made = tuple(values[name] for name in self.outputs)
        return made if len(made) > 1 else made[0]
