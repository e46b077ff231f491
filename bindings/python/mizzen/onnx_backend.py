"""Mizzen behind the interface that the onnx package has for engines (onnx.backend.base).

    import mizzen.onnx_backend
    scores, = mizzen.onnx_backend.run_model(onnx.load("digits.onnx"), [pixels])

Needs the package onnx. For everything else mizzen.inference.Session is the shorter way.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend as _Base
from onnx.backend.base import BackendRep

from .inference import Session, devices

__all__ = ["Backend", "PreparedModel", "is_compatible", "prepare", "run_model", "run_node", "supports_device"]


class PreparedModel(BackendRep):
    """A loaded model; run() takes the inputs in the model's order, or by name."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs in the model's order. Inputs at the end that the model makes optional may be left out."""
        names = [each.name for each in self.session.inputs]
        if not isinstance(inputs, Mapping):
            values: Sequence[Any] = inputs if isinstance(inputs, (list, tuple)) else [inputs]
            if len(values) > len(names):
                raise ValueError(f"{len(values)} inputs given; the model has {len(names)}: {', '.join(names)}")
            inputs = dict(zip(names, values))
        outputs = self.session.run(inputs)
        return tuple(outputs[each.name] for each in self.session.outputs)


class Backend(_Base):
    """See onnx.backend.base.Backend. Keyword arguments are those of mizzen.inference.Session."""

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """device: "CPU", "CUDA", "CUDA:1"."""
        wanted = device.lower()
        return any(wanted in (each.name, each.name.split(":")[0]) for each in devices() if each.available)

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> PreparedModel:
        """Raises mizzen.Error; its code is "unimplemented" for a model that asks for what Mizzen lacks."""
        return PreparedModel(Session(model.SerializeToString(), device=device.lower(), **kwargs))

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[Any, ...]:
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """One operator alone; opset_version says which version of it (default: onnx's newest)."""
        opset = int(kwargs.pop("opset_version", onnx.defs.onnx_opset_version()))
        arrays = [np.asarray(each) for each in inputs]
        names = [name for name in node.input if name]
        graph = onnx.helper.make_graph(
            [node],
            "node",
            [
                onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
                for name, array in zip(names, arrays)
            ],
            [onnx.ValueInfoProto(name=name) for name in node.output if name],
        )
        if outputs_info is not None:
            for value, (dtype, shape) in zip(graph.output, outputs_info):
                element = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
                value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, element, shape))
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid(node.domain, opset)])
        if outputs_info is None:
            model = onnx.shape_inference.infer_shapes(model)
        return cls.run_model(model, arrays, device, **kwargs)


is_compatible = Backend.is_compatible
prepare = Backend.prepare
run_model = Backend.run_model
run_node = Backend.run_node
supports_device = Backend.supports_device
