#!/usr/bin/env python3
"""Mizzen on a GPU against torch eager, torch.compile (max-autotune, CUDA graphs) and what the GPU can do, in one run.

  measure.py PROGRAM RESULTS [--only TEXT]... [--missing] [--seconds N] [--row-seconds N] [--work FOLDER] [--no-compile] [--small]
  measure.py PROGRAM RESULTS --table     the tables again, from what was measured

PROGRAM is mizzen_gpu_rounds. Rows are those of models.py. Each runs in a process of its own, so that one that fails or
hangs leaves the others alone, and says why in the table. What is measured is kept in --work (default: build/gpu-work),
one file a row: measuring a row again replaces it, and several calls make one table. --missing: only rows that are not
there yet, or failed.

A row: the module of models.py in float16 on torch's side, its export (float32 weights, inputs and outputs float16, computed
with arithmetic float16) on Mizzen's. Times are of whole calls to the end of the GPU's work, taken in rounds in turn. "on
the GPU": inputs and outputs lie in its memory; "host": in the host's, torch's pinned. Eager is the better of torch's two
layouts of pictures. The ceiling: the greater of the operations by the rate of a product of 8192 x 8192 matrices, and the
bytes that must move (weights, inputs, outputs) by the rate of a copy, both measured in the same run. Differences are
relative, by the 2-norm, to the module in float32.

Writes RESULTS/gpu.json (records as benchmarks/record.py makes them), RESULTS/gpu.md and RESULTS/gpu-log.txt.
--small: small models, torch on the processor; what can be tried without a GPU.
"""
from __future__ import annotations

import argparse
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1] / "tests" / "models")]

ROUNDS = 6
ROUND_SECONDS = 0.12  # of one competitor in one round
KINDS = ("mizzen", "eager", "compile", "mizzen host", "eager host", "compile host")


class Program:
    """mizzen_gpu_rounds at work."""

    def __init__(self, command: list[str]):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.ready = self.answer()

    def answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.stderr.read().strip()[-600:]} (exit status {self.process.wait()})")
        return json.loads(line)

    def times(self, where: str, runs: int) -> list[float]:
        self.process.stdin.write(f"{where} {runs}\n")
        self.process.stdin.flush()
        answer = self.answer()
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["ms"]

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def wait_for_gpu(torch) -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def torch_times(torch, call, runs: int) -> list[float]:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        wait_for_gpu(torch)
        times.append((time.perf_counter() - start) * 1e3)
    return times


def runs_for(least: float, small: bool) -> int:
    return 2 if small else max(10, min(400, int(ROUND_SECONDS * 1e3 / max(least, 1e-3))))


def ceilings(torch) -> dict[str, float]:
    """FLOP/s of a product and bytes per second of a copy (read and written)."""
    if not torch.cuda.is_available():
        return {"flops": 1e11, "bytes": 1e10}
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.float16) for _ in range(2))
    c = torch.empty_like(a)
    x = torch.randn(1 << 28, device="cuda")
    y = torch.empty_like(x)
    torch_times(torch, lambda: torch.mm(a, b, out=c), 5)
    product = min(torch_times(torch, lambda: torch.mm(a, b, out=c), 20)) / 1e3
    torch_times(torch, lambda: y.copy_(x), 3)
    copy = min(torch_times(torch, lambda: y.copy_(x), 20)) / 1e3
    del a, b, c, x, y
    torch.cuda.empty_cache()
    return {"flops": 2 * 8192**3 / product, "bytes": 2 * 4 * (1 << 28) / copy}


def as_tuple(results) -> tuple:
    return tuple(results) if isinstance(results, (tuple, list)) else (results,)


def peers(torch, model, inputs: tuple, row: dict, compiled: bool, device: str, half) -> dict:
    """Calls of torch, by the name of the column."""
    conv2d = any(isinstance(m, torch.nn.Conv2d) for m in model.module.modules()) or hasattr(model.module, "steps")
    net = model.module.to(device=device, dtype=half)
    on_device = tuple((t.to(half) if t.is_floating_point() else t).to(device) for t in inputs)
    calls: dict = {}

    def keep(name: str, module, given: tuple) -> None:
        host = tuple(t.cpu().pin_memory() if device == "cuda" else t.clone() for t in given)
        calls[name] = lambda: module(*given)
        calls[name + " host"] = lambda: [t.cpu() for t in as_tuple(module(*[t.to(device, non_blocking=True) for t in host]))]

    layouts = [("contiguous", net, on_device)]
    if conv2d and on_device[0].dim() == 4:
        import copy

        last = torch.channels_last
        layouts.append(("channels last", copy.deepcopy(net).to(memory_format=last), tuple(t.contiguous(memory_format=last) if t.dim() == 4 else t for t in on_device)))
    best = None
    for name, module, given in layouts:
        torch_times(torch, lambda: module(*given), 3)
        least = min(torch_times(torch, lambda: module(*given), 10))
        if best is None or least < best[0]:
            best = (least, name, module, given)
    row["eager_layout"] = best[1]
    keep("eager", best[2], best[3])
    if compiled:
        try:
            start = time.perf_counter()
            fast = torch.compile(best[2], mode="max-autotune", fullgraph=True, dynamic=False)
            for _ in range(4):  # the first compiles, the second records
                fast(*best[3])
                wait_for_gpu(torch)
            row["compile_seconds"] = time.perf_counter() - start
            keep("compile", fast, best[3])
        except Exception as e:
            row["compile_error"] = f"{type(e).__name__}: {e}"[:300]
    return calls


def measure_row(arguments, name: str) -> dict:
    import models
    import numpy as np
    import torch

    small = arguments.small
    device = "cpu" if small or not torch.cuda.is_available() else "cuda"
    half = torch.float16 if device == "cuda" else torch.float32
    which = next(r for r in models.ROWS if r.case == name)
    row: dict = {"case": name, "goal": which.goal, "date": time.strftime("%Y-%m-%d", time.gmtime()),
                 "gpu": torch.cuda.get_device_name(0) if device == "cuda" else "no GPU", "torch": torch.__version__}
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    model = models.build(which, small)
    inputs = models.inputs_of(which, model)
    inputs = tuple(t.half().float() if t.is_floating_point() else t for t in inputs)
    row["ceilings"] = ceilings(torch)
    row["flops"], row["bytes"] = models.work(model, inputs)

    folder = arguments.work / name.replace(" ", "-").replace(",", "")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / ("small.onnx" if small else "model.onnx")
    if not file.exists():
        start = time.perf_counter()
        scratch = folder / "new.onnx"
        models.export(model, inputs, scratch)
        models.half_ends(scratch)
        scratch.rename(file)
        row["export_seconds"] = time.perf_counter() - start
    listing = []
    for k, (label, t) in enumerate(zip(model.names, inputs)):
        np.save(folder / f"input{k}.npy", (t.half() if t.is_floating_point() else t).numpy())
        listing.append(f"0\tinput\tinput{k}.npy\t{label}")
    (folder / "cases.txt").write_text("\n".join(listing) + "\n")
    with torch.no_grad():
        exact = [t.float().cpu() for t in as_tuple(model.module.to(device)(*[t.to(device) for t in inputs]))]

    program = None
    try:
        command = [arguments.program, str(file), arguments.device, "float16", str(folder), str(arguments.work / "cache")]
        # The first load may compile and time; the second finds that in the cache.
        first = Program(command)
        row["first_ready_ms"] = first.ready["ready_ms"]
        first.close()
        program = Program(command)
        row |= {k: program.ready[k] for k in ("ready_ms", "load_ms", "parts", "on_host", "warnings")}
        got = [torch.from_numpy(np.load(folder / f"actual{k}.npy")).float() for k in range(len(exact))]
        row["difference"] = max(models.relative_difference(a, b) for a, b in zip(got, exact))
    except Exception as e:
        row["mizzen_error"] = str(e)[-600:]
    calls = {}
    with torch.no_grad():
        try:
            calls = peers(torch, model, inputs, row, not arguments.no_compile, device, half)
            theirs = [t.float().cpu() for t in as_tuple(calls["eager"]())]
            row["torch_difference"] = max(models.relative_difference(a, b) for a, b in zip(theirs, exact))
        except Exception as e:
            row["torch_error"] = f"{type(e).__name__}: {e}"[:300]
        timed = {k: lambda n, call=call: torch_times(torch, call, n) for k, call in calls.items()}
        if program is not None:
            timed["mizzen host"] = lambda n: program.times("host", n)
            timed["mizzen"] = lambda n: program.times("device", n)
        runs: dict[str, int] = {}
        times: dict[str, list[float]] = {}
        for kind, call in list(timed.items()):
            try:
                call(3)
                runs[kind] = runs_for(min(call(5 if not small else 1)), small)
                times[kind] = []
            except Exception as e:
                row.setdefault("errors", {})[kind] = str(e)[-300:]
                del timed[kind]
        order = [k for k in KINDS if k in timed]
        for number in range(2 if small else ROUNDS):
            for kind in order if number % 2 else reversed(order):
                try:
                    times[kind] += timed[kind](runs[kind])
                except Exception as e:
                    row.setdefault("errors", {})[kind] = str(e)[-300:]
                    times[kind] = []
    if program is not None:
        program.close()
    if "mizzen" in times:
        got = [torch.from_numpy(np.load(folder / f"device{k}.npy")).float() for k in range(len(exact))]
        row["difference"] = max(row["difference"], *(models.relative_difference(a, b) for a, b in zip(got, exact)))
    row["min"] = {k: min(v) for k, v in times.items() if v}
    row["median"] = {k: statistics.median(v) for k, v in times.items() if v}
    row["runs"] = {k: len(v) for k, v in times.items() if v}
    return row


def ceiling_ms(row: dict) -> float:
    return 1e3 * max(row["flops"] / row["ceilings"]["flops"], row["bytes"] / row["ceilings"]["bytes"])


def write_tables(arguments, rows: list[dict]) -> list[str]:
    from record import Records

    records = Records()
    number = lambda v, digits=3: "" if v is None else f"{v:.{digits}f}"
    any_row = next((r for r in rows if "ceilings" in r), None)
    lines = []
    if any_row:
        best = {k: max(r["ceilings"][k] for r in rows if "ceilings" in r) for k in ("flops", "bytes")}
        lines = [f"{any_row['gpu']}; torch {any_row['torch']}; product {best['flops'] / 1e12:.0f} TFLOP/s (float16), copy {best['bytes'] / 1e12:.2f} TB/s. Milliseconds, least of all runs.", ""]
    lines += ["| case | Mizzen | goal | eager | compile | by compile | by its median | ceiling | of it | host: Mizzen | eager | compile | difference (torch's) | ready, first | parts, on host |",
              "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|"]
    notes = []
    for row in rows:
        case, least, median = row["case"], row.get("min", {}), row.get("median", {})
        mine = least.get("mizzen")
        ratio = lambda table, a="mizzen", b="compile": table[b] / table[a] if a in table and b in table else None
        goal = "" if not row.get("goal") or arguments.small else f"{row['goal']:g}" + ("" if mine is None else " met" if mine <= row["goal"] else " missed")
        limit = ceiling_ms(row) if "flops" in row else None
        off = "" if "difference" not in row else f"{row['difference']:.1e} ({row.get('torch_difference', float('nan')):.1e})"
        ready = "" if "ready_ms" not in row else f"{row['ready_ms']:.0f}, {row['first_ready_ms']:.0f}"
        host = row.get("on_host", {})
        parts = "" if "parts" not in row else f"{row['parts']}, {sum(host.values())}"
        lines.append("| " + " | ".join([case, number(mine), goal, number(least.get("eager")), number(least.get("compile")), number(ratio(least), 2), number(ratio(median), 2), number(limit),
                                        "" if mine is None or limit is None else f"{100 * limit / mine:.0f} %", number(least.get("mizzen host")), number(least.get("eager host")),
                                        number(least.get("compile host")), off, ready, parts]) + " |")
        for key in ("error", "mizzen_error", "torch_error", "compile_error"):
            if row.get(key):
                notes.append(f"- {case}: {key.replace('_', ' ')}: {' '.join(str(row[key]).split())[:400]}")
        notes += [f"- {case}: {kind}: {' '.join(text.split())[:300]}" for kind, text in row.get("errors", {}).items()]
        notes += [f"- {case}: warning: {text[:200]}" for text in row.get("warnings", [])[:3]]
        if host:
            notes.append(f"- {case}: on the processor: " + ", ".join(f"{n} {op}" for op, n in host.items()))
        for where, suffix in (("on the GPU", ""), ("host to host", " host")):
            for metric, table in (("minimum", least), ("median", median)):
                for peer in ("eager", "compile"):
                    if "mizzen" + suffix in table and peer + suffix in table:
                        records.add(f"{case} float16, {where}", metric, "ms", table["mizzen" + suffix], f"torch {row['torch']} {peer}", table[peer + suffix], hardware=row["gpu"])
    lines += ["", *notes]
    (arguments.results / "gpu.md").write_text("\n".join(lines) + "\n")
    (arguments.results / "gpu.json").write_text(json.dumps(records.list, indent=1) + "\n")
    return lines


def run_row(arguments, name: str, seconds: float, log) -> dict:
    """In a process of its own, with all that it starts ended with it."""
    out = arguments.work / "row.json"
    out.unlink(missing_ok=True)
    command = [sys.executable, str(HERE / "measure.py"), arguments.program, str(arguments.results), "--row", name, "--work", str(arguments.work), "--device", arguments.device]
    command += ["--no-compile"] * arguments.no_compile + ["--small"] * arguments.small
    environment = dict(os.environ, TORCHINDUCTOR_CACHE_DIR=str(arguments.work / "inductor"), TRITON_CACHE_DIR=str(arguments.work / "triton"))
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True)
    try:
        status = process.wait(seconds)
        why = "" if out.exists() else f"its process ended with status {status}"
    except subprocess.TimeoutExpired:
        why = f"not done after {seconds:.0f} s"
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
    return json.loads(out.read_text()) if not why else {"case": name, "error": why}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--missing", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--seconds", type=float, default=540)
    parser.add_argument("--row-seconds", type=float, default=200)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("build/gpu-work"))
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.program = str(pathlib.Path(arguments.program).resolve())
    arguments.work = arguments.work.resolve() / ("small" if arguments.small and not arguments.row else "")
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.work / "rows").mkdir(parents=True, exist_ok=True)
    if arguments.row:
        try:
            row = measure_row(arguments, arguments.row)
        except Exception as e:
            traceback.print_exc()
            row = {"case": arguments.row, "error": f"{type(e).__name__}: {e}"[:600]}
        (arguments.work / "row.json.new").write_text(json.dumps(row))
        (arguments.work / "row.json.new").rename(arguments.work / "row.json")
        return 0
    import models

    kept = lambda case: arguments.work / "rows" / (case.replace(" ", "-").replace(",", "") + ".json")
    begin = time.monotonic()
    with open(arguments.results / "gpu-log.txt", "a") as log:
        for which in models.ROWS:
            if arguments.table or (arguments.only and not any(text in which.case for text in arguments.only)):
                continue
            if arguments.missing and kept(which.case).exists() and "min" in json.loads(kept(which.case).read_text()):
                continue
            left = arguments.seconds - (time.monotonic() - begin)
            print(f"{which.case} …", flush=True)
            row = run_row(arguments, which.case, min(arguments.row_seconds, left), log) if left > 30 else {"case": which.case, "error": "left out for want of time"}
            # A row that was left out now does not push out one that was measured before.
            if "error" not in row or not kept(which.case).exists():
                kept(which.case).write_text(json.dumps(row))
            summary = row.get("error") or row.get("mizzen_error") or ", ".join(f"{k} {v:.3f}" for k, v in row.get("min", {}).items())
            print(f"  {time.monotonic() - begin:.0f} s: {summary}", flush=True)
    rows = [json.loads(kept(w.case).read_text()) for w in models.ROWS if kept(w.case).exists()]
    lines = write_tables(arguments, rows)
    print("\n".join(lines))
    return 1 if any("error" in r or "mizzen_error" in r for r in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
