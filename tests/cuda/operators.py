#!/usr/bin/env python3
"""Operators on a device against the processor: Mizzen's own engine there, and ONNX Runtime.

  operators.py PROGRAM RESULTS [--device cuda:0] [--only TEXT]... [--every N] [--arithmetic A]... [--workers N] [--seconds N]

PROGRAM is mizzen_cuda_cases; which plug-in it loads says MIZZEN_CUDA_PLUGIN. Cases are the onnx package's own of each
operator, and those of case_grid.py. Models of float32 run in each arithmetic (float32, tf32, float16), others as they
are; what differences are allowed says tolerance.hpp. Several processes share the work; one that dies is started anew
behind the case that it died at.

Writes RESULTS/operators.json, a record per run, and RESULTS/operators.md. The exit status is 1 where a case went wrong.
"""
from __future__ import annotations

import argparse
import collections
import json
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import onnx
import onnxruntime

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "models")]
import case_grid  # noqa: E402
import node_cases  # noqa: E402

ARITHMETIC = ("float32", "tf32", "float16")
LONGEST = 120  # seconds that one case may take
PATIENCE = 40  # processes that may die


def answers(model: onnx.ModelProto, inputs: list) -> list | None:
    """ONNX Runtime's; None where it does not know the operator for the type."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, dict(zip((i.name for i in model.graph.input), map(np.asarray, inputs))))
    except Exception:  # its errors have no common base but this
        return None


def write_cases(folder: pathlib.Path, only: list[str], every: int) -> tuple[list[pathlib.Path], int]:
    """The folders of the cases, and how many of them ONNX Runtime answered."""
    made: list[pathlib.Path] = []
    answered = 0

    def every_case():
        yield from node_cases.cases()
        for name, model, inputs in case_grid.cases():
            yield name, model, inputs, [], 1e-4, 0.0

    taken = (c for c in every_case() if not only or any(text in c[0] for text in only))
    for number, (name, model, inputs, outputs, relative, absolute) in enumerate(taken):
        if number % every:
            continue
        theirs = answers(model, inputs)
        if theirs is not None and node_cases.numeric(theirs):
            outputs = theirs
            answered += 1
        node_cases.write_case(folder / name, model, inputs, outputs, relative, absolute)
        made.append(folder / name)
    return made, answered


def of_float32(model: onnx.ModelProto) -> bool:
    return any(v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT for v in (*model.graph.input, *model.graph.output))


class Work:
    """Lines for the program, taken by several threads."""

    def __init__(self, lines: list[str], deadline: float):
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        for line in lines:
            self.lines.put(line)
        self.deadline, self.lock = deadline, threading.Lock()
        self.records: list[dict] = []
        self.died = 0

    def next(self) -> str | None:
        if time.monotonic() > self.deadline or self.died > PATIENCE:
            return None
        try:
            return self.lines.get_nowait()
        except queue.Empty:
            return None

    def add(self, record: dict) -> None:
        with self.lock:
            self.records.append(record)


def worker(command: list[str], work: Work, log) -> None:
    process = None
    while (line := work.next()) is not None:
        if process is None:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        alarm = threading.Timer(LONGEST, process.kill)
        alarm.start()
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        alarm.cancel()
        if answer:
            work.add(json.loads(answer))
        if answer and process.poll() is None:
            continue
        # It ends by itself behind a failure that may have left the device unusable.
        try:
            status = process.wait(timeout=1 if not answer else 0.05)
        except subprocess.TimeoutExpired:
            if answer:
                continue
            process.kill()
            status = process.wait()
        process = None
        with work.lock:
            work.died += 1
        if not answer:
            folder, math = line.rsplit(" ", 1)
            work.add({"case": pathlib.Path(folder).name, "math": math, "status": "died", "what": f"exit status {status}"})
    if process is not None:
        process.stdin.close()
        process.wait()


def table(records: list[dict], left: int, answered: int, cases: int) -> list[str]:
    lines = [f"{cases} cases, {answered} of them answered by ONNX Runtime {onnxruntime.__version__}; {len(records)} runs"
             + (f", {left} left undone for want of time" if left else ""), "",
             "| arithmetic | on the device | whole | same | different | failed | died | fell back | worst, of what is allowed | against ONNX Runtime | only on the processor | refused | beyond float16 |",
             "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for math in dict.fromkeys(r["math"] for r in records):
        mine = [r for r in records if r["math"] == math]
        count = collections.Counter(r["status"] for r in mine)
        ran = [r for r in mine if r.get("parts")]
        worst = lambda key: max((r[key] for r in mine if isinstance(r.get(key), float) and r["status"] == "same" and r[key] <= 1), default=0)
        lines.append(f"| {math} | {len(ran)} | {sum(r['parts'] == 1 and not r['on_host'] for r in ran)} | {count['same']} | {count['different']} | {count['failed']} | {count['died']} | {sum('fell_back' in r for r in mine)} | "
                     f"{worst('engine'):.2f} | {worst('reference'):.2f} | {count['host']} | {count['refused']} | {count['range']} |")
    wrong = [r for r in records if r["status"] in ("different", "failed", "died")]
    if wrong:
        lines += ["", "Wrong:", *(f"- {r['case']} ({r['math']}): {r['status']}; " + (r.get("what") or f"engine {r.get('engine')}, reference {r.get('reference')}")[:300] for r in wrong[:60])]
    back = [r for r in records if "fell_back" in r]
    if back:
        lines += ["", "Refused by the device when it came to it, and run on the processor:", *(f"- {r['case']} ({r['math']}): {r['fell_back'][:300]}" for r in back[:20])]
    away = [r["case"] for r in records if not (isinstance(r.get("engine_and_reference", 0), (int, float)) and r.get("engine_and_reference", 0) <= 1)]
    if away:
        lines += ["", f"The engine on the processor is itself away from the reference: {', '.join(sorted(set(away))[:40])}."]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--arithmetic", action="append", default=[], choices=ARITHMETIC)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=420, help="for the runs; what is left then is left out, and said")
    arguments = parser.parse_args()
    arguments.results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile("w+", errors="replace") as log:
        folders, answered = write_cases(pathlib.Path(scratch), arguments.only, arguments.every)
        if not folders:
            print("operators: no such case", file=sys.stderr)
            return 2
        lines = []
        for math in arguments.arithmetic or ARITHMETIC:
            for folder in folders:
                if math == "float32" or of_float32(onnx.load(str(folder / "model.onnx"))):
                    lines.append(f"{folder} {math}")
        work = Work(lines, time.monotonic() + arguments.seconds)
        threads = [threading.Thread(target=worker, args=([arguments.program, arguments.device], work, log)) for _ in range(arguments.workers)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        log.seek(0)
        said = log.read()
    records = sorted(work.records, key=lambda r: (ARITHMETIC.index(r["math"]), r["case"]))
    text = table(records, len(lines) - len(records), answered, len(folders))
    (arguments.results / "operators.json").write_text(json.dumps(records) + "\n")
    (arguments.results / "operators.md").write_text("\n".join([*text, *(["", "Last words of the processes:", "", said[-4000:]] if said else [])]) + "\n")
    print("\n".join(text))
    ran = sum(bool(r.get("parts")) for r in records)
    wrong = [r for r in records if r["status"] in ("different", "failed", "died")]
    if not ran:
        print("operators: nothing ran on the device", file=sys.stderr)
    return 1 if wrong or not ran else 0


if __name__ == "__main__":
    sys.exit(main())
