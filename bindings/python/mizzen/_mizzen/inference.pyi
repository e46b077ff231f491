import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt
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

class NodeTime:
    """The time of one node with one set of shapes."""

    @property
    def name(self) -> str: ...
    @property
    def op_type(self) -> str: ...
    @property
    def fused(self) -> str:
        """What was fused into it: "+add+relu"; empty for nothing."""
    @property
    def outputs(self) -> str:
        """Their types and shapes: "float32[1,64,56,56]"."""
    @property
    def inputs(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def seconds(self) -> float:
        """In the node itself: that of the nodes of a branch or loop is their own."""

class OperatorTime:
    """The time of all nodes of one operator; "(engine)" is what a run spends outside its nodes."""

    @property
    def op_type(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def seconds(self) -> float: ...

class Profile:
    """Where the time of the runs that it is given to goes: session.run(inputs, profile=profile); print(profile).

    Runs of several threads and sessions may share one. Nodes that need not run do not appear.
    """

    def __init__(self) -> None: ...
    @property
    def runs(self) -> int: ...
    @property
    def seconds(self) -> float:
        """Wall time of all runs."""
    def operators(self) -> list[OperatorTime]:
        """The slowest first."""
    def nodes(self) -> list[NodeTime]:
        """The slowest first."""
    def table(self, most_nodes: int = 30) -> str:
        """Operators and the slowest nodes, as text for people; also str(profile)."""
    def trace(self) -> str:
        """The runs one by one as JSON for Chrome's trace viewer and ui.perfetto.dev."""
    def write_trace(self, path: str | os.PathLike[str]) -> None: ...
    def clear(self) -> None:
        """Forgets everything so far."""

class WeightCache:
    """Weights that the sessions given it hold together: Session(model, weights=cache).

    They live as long as a session that uses them. len(cache) is how many there are.
    """

    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    @property
    def hits(self) -> int:
        """How often a session found what it needed."""

class GpuOptions:
    """How a GPU computes: Session(model, "cuda:0", gpu=GpuOptions(math="float16"))."""

    def __init__(
        self,
        *,
        math: Literal["float32", "tf32", "float16"] = "float32",
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        """math: how float32 is computed. cache: the folder for compiled kernels; "" for none, None for the usual one."""
    @property
    def math(self) -> str: ...
    @property
    def cache(self) -> Path | None: ...

class DeviceTensor:
    """A tensor in a GPU's memory, for torch.from_dlpack(), cupy.from_dlpack() and Session.run()."""

    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def device(self) -> str:
        """"cuda:0"; "cpu" where the session is on the processor."""
    def numpy(self) -> npt.NDArray[Any]:
        """A copy."""
    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...

def to_device(array: Any, device: str) -> DeviceTensor:
    """A copy of an array in a device's memory."""

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
        on_graph: Callable[[str, str], None] | None = None,
        weights: WeightCache | None = None,
        map_weights: bool = False,
        inference_precision: Literal["float32", "bfloat16"] = "float32",
        shape_buckets: Mapping[str, list[int]] = {},
        async_runs: int = 2,
        queued_runs: int = 0,
        gpu: GpuOptions = ...,
    ) -> None:
        """model: a path, or the bytes of a model. threads: of one run; 0 for all CPUs available.

        memory_limit: bytes, for the constants and again for the working memory of a run.
        on_graph: called while loading with the name of a pass ("imported" at first) and the graph after it, as text.
        weights: shared with the other sessions that are given it.
        map_weights: map the model's files instead of reading them. They must not be written to or made shorter while
            the session lives, which would kill the process; replace a model by renaming a new file over it.
        inference_precision: the narrowest type that products with constant weights may round their operands to.
        gpu: for the devices "cuda:N".
        shape_buckets: {"batch": [1, 2, 4, 8]}: inputs are padded with zeros up to the next of these sizes, and outputs
            cut back, so that few shapes are planned. Right where rows are computed apart, or masked.
        async_runs: threads that carry out run_async(). queued_runs: most runs that may wait for one; 0: no bound.
        """
    @property
    def inputs(self) -> list[ValueInfo]: ...
    @property
    def outputs(self) -> list[ValueInfo]: ...
    @property
    def metadata(self) -> dict[str, str]: ...
    def run(
        self,
        inputs: Mapping[str, Any],
        outputs: Iterable[str] | Mapping[str, Any] | None = None,
        *,
        profile: Profile | None = None,
        outputs_on_device: bool = False,
        stream: int | None = None,
    ) -> dict[str, Any]:
        """Runs the model; the outputs asked for (all unless named), by name. {name: array} has them written into arrays
        of yours, which must be contiguous and of the right type and shape, and returns those.

        An output is an array; a list of arrays where it is a sequence; None where it is an optional without its
        element. Inputs likewise: an optional one may be None, or left out.

        On a GPU, inputs in its memory (anything with __dlpack__) are used where they are, after the work of CUDA's
        default stream; so are those given to write into. outputs_on_device: outputs are DeviceTensors.
        stream: a CUDA stream (torch.cuda.Stream.cuda_stream; 1 for the default one) that the run comes after. Where all
        inputs and outputs are on the GPU the call then returns before the work is done: keep both, and leave inputs as
        they are, until the stream has come past it.
        """
    def run_async(self, inputs: Mapping[str, Any]) -> "asyncio.Future[dict[str, Any]]":
        """As run(inputs), by a thread of the session: `outputs = await session.run_async(inputs)`. To be called where an
        event loop runs; cancelling the future stops the run. The arrays must not be written to until it is over."""
    def release_memory(self) -> None:
        """Gives back the working memory and plans kept for the next runs; runs under way keep theirs."""
    def dump_graph(self) -> str:
        """What is executed, as text for people."""
