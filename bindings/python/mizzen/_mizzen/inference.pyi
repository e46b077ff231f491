import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from typing_extensions import Buffer

class ValueInfo:
    """Name, type and shape of a model's input or output."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str:
        """NumPy's name of the type ("float32"), or "string"."""
    @property
    def shape(self) -> tuple[int | str | None, ...] | None:
        """A number, a symbol, or None for each dimension; None when not even the rank is known."""
    @property
    def kind(self) -> str:
        """"tensor", "sequence", "optional_tensor" or "optional_sequence"; dtype and shape are those of the elements."""

class DeviceInfo:
    """A device, or why it is not available."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def available(self) -> bool: ...
    @property
    def reason(self) -> str: ...

def devices() -> list[DeviceInfo]:
    """The devices known to this process, available or not."""

class Session:
    """An ONNX model, compiled for a device."""

    def __init__(
        self,
        model: str | os.PathLike[str] | Buffer,
        device: str = "cpu",
        threads: int = 1,
        *,
        memory_limit: int | None = None,
        optimize: bool = True,
    ) -> None:
        """model: a path, or the bytes of a model. threads: of one run; 0 for all CPUs available.

        memory_limit: bytes, for the constants and again for the working memory of a run.
        """
    @property
    def inputs(self) -> list[ValueInfo]: ...
    @property
    def outputs(self) -> list[ValueInfo]: ...
    @property
    def metadata(self) -> dict[str, str]: ...
    def run(
        self, inputs: Mapping[str, Any], outputs: Iterable[str] | None = None
    ) -> dict[str, Any]:
        """Runs the model; the outputs asked for (all unless named), by name.

        An output is an array; a list of arrays where it is a sequence; None where it is an optional without its
        element. Inputs likewise: an optional one may be None, or left out.
        """
    def dump_graph(self) -> str:
        """What is executed, as text for people."""
