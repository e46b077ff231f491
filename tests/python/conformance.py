"""Runs the standard's own tests of operators (onnx.backend.test, the node cases) on Mizzen and on ONNX Runtime.

    conformance.py                      prints the table
    conformance.py --write FILE         writes it as Markdown (docs/inference/conformance.md)
    conformance.py --engines mizzen --list failed,unsupported

Both engines run behind one harness: the onnx package's runner prepares the case, calls the engine's Python module
and compares, with the tolerances that the case gives. An engine runs in a process of its own; one that crashes fails
the case that it was at, and goes on with the next.
"""
from __future__ import annotations

import argparse
import collections
import json
import pathlib
import subprocess
import sys
import unittest
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

# The answer that these cases expect is one draw of a generator that the standard does not name.
RANDOM = ("test_bernoulli",)
FIRST_NEW_OPSET = 27  # ONNX Runtime 1.31 knows the operator sets before it
STATUSES = ("passed", "failed", "unsupported")


class Result(NamedTuple):
    case: str
    opset: int  # of the default domain; 0: the case has none of it
    domain: str  # of the node: "" or "ai.onnx.ml" …
    operator: str
    status: str
    reason: str


# --- in the engine's own process -----------------------------------------------------------------


class Unsupported(Exception):
    """The engine says that it does not have what the case asks for."""


def engine_of(prepared: Any) -> Any:
    """What the runner asks for: a backend whose prepare(model) is prepared(model)."""
    from onnx.backend.base import Backend

    class Engine(Backend):
        @classmethod
        def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> Any:
            return prepared(model)

        @classmethod
        def supports_device(cls, device: str) -> bool:
            return device == "CPU"

    return Engine


def mizzen_backend() -> Any:
    import mizzen
    import mizzen.onnx_backend as module

    class Prepared:
        def __init__(self, model: Any) -> None:
            self.model = call(module.Backend.prepare, model)

        def run(self, inputs: Any, **kwargs: Any) -> Any:
            return call(self.model.run, inputs)

    def call(function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except mizzen.Error as error:
            if error.code == "unimplemented":
                raise Unsupported(str(error)) from None
            raise

    return engine_of(Prepared)


def onnxruntime_backend() -> Any:
    import ctypes

    import numpy as np
    import onnx
    import onnxruntime
    from onnx.backend.base import BackendRep
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    onnxruntime.set_default_logger_severity(4)

    def load(model: Any) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except state.NotImplemented as error:
            raise Unsupported(str(error)) from None
        except state.Fail as error:
            known = ("under development", "is not a registered function/op", "No Op registered", "Unsupported model IR version")
            if any(text in str(error) for text in known):
                raise Unsupported(str(error)) from None
            raise

    def is_numpy(dtype: np.dtype) -> bool:
        return dtype.kind != "V" and dtype.type.__module__ == "numpy"

    def to_value(array: np.ndarray) -> Any:
        if is_numpy(array.dtype):
            return onnxruntime.OrtValue.ortvalue_from_numpy(array)
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array, onnx.helper.np_dtype_to_tensor_dtype(array.dtype))

    def from_value(value: Any) -> Any:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.element_type()))
        if is_numpy(dtype):
            return value.numpy()
        size = int(np.prod(value.shape())) * dtype.itemsize
        return np.frombuffer(ctypes.string_at(value.data_ptr(), size), dtype).reshape(value.shape())

    class Prepared(BackendRep):
        def __init__(self, model: Any) -> None:
            self.session = load(model)

        def run(self, inputs: Any, **kwargs: Any) -> Any:
            names = [each.name for each in self.session.get_inputs()]
            # Its module takes arrays, not NumPy's scalars, and types that NumPy lacks only as values of its own.
            given = [np.asarray(each) if isinstance(each, np.generic) else each for each in inputs]
            kinds = [each.type for each in (*self.session.get_inputs(), *self.session.get_outputs())]
            try:
                if any(name in kind for kind in kinds for name in ("bfloat16", "float8")) and all(
                    kind.startswith("tensor") for kind in kinds
                ):
                    values = self.session.run_with_ort_values(None, {n: to_value(v) for n, v in zip(names, given)})
                    return [from_value(value) for value in values]
                return self.session.run(None, dict(zip(names, given)))
            except state.NotImplemented as error:
                raise Unsupported(str(error)) from None

    return engine_of(Prepared)


BACKENDS = {"mizzen": mizzen_backend, "onnxruntime": onnxruntime_backend}


def opset_of(model: Any) -> int:
    return max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=0)


def run_cases(engine: str, after: str) -> None:
    """Writes a line before and a line after each case, for the other process."""
    from onnx.backend.test.runner import Runner

    warnings.simplefilter("ignore")
    items = Runner(BACKENDS[engine]())._test_items["NodeModel"]
    names = sorted(name for name in items if name.endswith("_cpu"))
    for name in names:
        if name <= after:
            continue
        print(json.dumps({"start": name}), flush=True)
        status, reason = "passed", ""
        item = items[name]
        try:
            item.func(None)
        except Unsupported as refusal:
            status, reason = "unsupported", str(refusal)
        except unittest.SkipTest as skipped:
            status, reason = "unsupported", str(skipped)
        except Exception as problem:  # whatever it is, the case has failed
            status, reason = "failed", f"{type(problem).__name__}: {problem}"
        model = item.proto[0]
        nodes = model.graph.node if model is not None else []
        print(
            json.dumps(
                {
                    "case": name.removesuffix("_cpu"),
                    "opset": opset_of(model) if model is not None else 0,
                    "domain": nodes[0].domain if nodes else "",
                    "operator": nodes[0].op_type if len(nodes) == 1 else f"{len(nodes)} nodes",
                    "status": status,
                    "reason": reason[:500],
                }
            ),
            flush=True,
        )


# --- in the process that reports -----------------------------------------------------------------


def lines_of(engine: str, after: str) -> Iterator[dict[str, Any]]:
    command = [sys.executable, __file__, "--worker", engine, "--after", after]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stdout and worker.stderr
        for line in worker.stdout:
            if line.startswith("{"):
                yield json.loads(line)
        worker.wait()
        if worker.returncode:
            yield {"died": worker.returncode, "stderr": worker.stderr.read()[-2000:]}


def run(engine: str) -> list[Result]:
    results: list[Result] = []
    after = ""
    while True:
        started = died = ""
        for line in lines_of(engine, after):
            if "start" in line:
                started = line["start"]
            elif "died" in line:
                died = f"the process ended with status {line['died']}: {line['stderr']}"
            else:
                results.append(Result(**line))
                after, started = started, ""
        if not died:
            return results
        if not started:
            raise RuntimeError(f"{engine} cannot be run: {died}")
        results.append(Result(started.removesuffix("_cpu"), 0, "", "?", "failed", died))
        after = started


def count(results: list[Result]) -> dict[str, int]:
    counted = collections.Counter(each.status for each in results)
    return {status: counted[status] for status in STATUSES}


def group_of(result: Result) -> str:
    if result.domain == "ai.onnx.ml":
        return "ai.onnx.ml"
    if result.domain.startswith("ai.onnx.preview"):
        return "preview"
    return f"{result.opset:02}"


def table(results: dict[str, list[Result]]) -> str:
    titles = {"mizzen": "Mizzen", "onnxruntime": "ONNX Runtime"}
    engines = list(results)
    lines = [
        "| operator set | cases | " + " | ".join(f"{titles[e]}: passed | failed | not supported" for e in engines) + " |",
        "|---|---|" + "---|---|---|" * len(engines),
    ]

    def row(title: str, chosen: Any, share: bool = False) -> None:
        total = sum(1 for each in results[engines[0]] if chosen(each))
        cells = [title, str(total)]
        for engine in engines:
            counts = count([each for each in results[engine] if chosen(each)])
            passed = f"{counts['passed']}"
            if share and total:
                passed += f" ({100 * counts['passed'] / total:.1f} %)"
            cells += [passed, str(counts["failed"]), str(counts["unsupported"])]
        lines.append("| " + " | ".join(cells) + " |")

    for group in sorted({group_of(each) for each in results[engines[0]]}):
        row(group.lstrip("0"), lambda each, group=group: group_of(each) == group)
    row(f"**below {FIRST_NEW_OPSET}**", lambda each: each.opset < FIRST_NEW_OPSET, share=True)
    row(f"**{FIRST_NEW_OPSET} and above**", lambda each: each.opset >= FIRST_NEW_OPSET, share=True)
    return "\n".join(lines)


def missing(results: list[Result]) -> str:
    lacking = collections.Counter(each.operator for each in results if each.status == "unsupported")
    lines = ["| operator | cases not supported | the first of them says |", "|---|---|---|"]
    for operator, cases in sorted(lacking.items(), key=lambda item: (-item[1], item[0])):
        reason = next(each.reason for each in results if each.operator == operator and each.status == "unsupported")
        reason = reason.splitlines()[0].replace("|", "\\|")
        lines.append(f"| {operator} | {cases} | {reason[:140]} |")
    return "\n".join(lines)


def document(results: dict[str, list[Result]]) -> str:
    import onnx
    import onnxruntime

    random = sum(1 for each in results["mizzen"] if each.case.startswith(RANDOM))
    return f"""# Conformance with ONNX

The node cases of `onnx.backend.test` (onnx {onnx.__version__}), on the CPU, next to ONNX Runtime {onnxruntime.__version__}: both behind one
harness and through their Python modules, with the tolerances that each case gives. Made by

    tests/python/conformance.py --write docs/inference/conformance.md

*Not supported*: the engine says so when the model is loaded or run. *Failed*: a wrong answer, another error, or a crash;
among them the {random} cases of Bernoulli, which expect one draw of a generator that the standard does not name.

{table(results)}

## What Mizzen does not support

{missing(results["mizzen"])}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", default="mizzen,onnxruntime")
    parser.add_argument("--write", type=pathlib.Path, help="the Markdown file to write")
    parser.add_argument("--list", default="", help="print the cases of these statuses, with the reason")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--after", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        run_cases(arguments.worker, arguments.after)
        return 0
    results = {engine: run(engine) for engine in arguments.engines.split(",")}
    for engine, each in results.items():
        for result in each:
            if result.status in arguments.list.split(","):
                print(f"{engine}: {result.case}: {result.status}: {result.reason}")
    print(table(results))
    if arguments.write:
        arguments.write.parent.mkdir(parents=True, exist_ok=True)
        arguments.write.write_text(document(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
