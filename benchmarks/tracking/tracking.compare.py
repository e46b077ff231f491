#!/usr/bin/env python3
# venv: mlflow
"""Tracking against MLflow's own client: logging, searching, reading back; on SQLite stores and on a real MLflow server.

MLflow's store waits for the disk at each write; Mizzen's promises to survive the process, and the disk
too when asked to (power_safe). Both are measured.

What a C++ program sees (mizzen_tracking_peer) is set against the same calls of MLflow's client in Python,
since there is no other; the turns alternate. MIZZEN_BENCH_ROUNDS (default 3) says how many, and MIZZEN_BENCH_ONLY
which parts are measured anew (writer, server, search, history, calls): the others stay as they stand in the results.
MIZZEN_BENCH_HISTORY (default 10,000,000) is the length of the longest metric. MLflow reads it by pages with an offset,
whose time grows with the square: after MIZZEN_BENCH_PATIENCE seconds (default 300) it is given up, and the case says so.

usage: tracking.compare.py BUILD_FOLDER RESULT_FILE    (benchmarks/run.sh calls it)
"""
import contextlib
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # nothing but the store is to be measured
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/tracking"))
import mizzen
import mlflow
from corpus import fill_history, fill_runs
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient
from mlflow_server import start_server
from record import Records, interleaved


ROUNDS = int(os.environ.get("MIZZEN_BENCH_ROUNDS", "3"))
ONLY = os.environ.get("MIZZEN_BENCH_ONLY", "writer server search history calls").split()
RESULTS = pathlib.Path(__file__).resolve().parents[1] / "results/tracking.json"
PATIENCE = float(os.environ.get("MIZZEN_BENCH_PATIENCE", "300"))
LONGEST = int(os.environ.get("MIZZEN_BENCH_HISTORY", "10000000"))


def peer(build: str, what: str, uri: str, *arguments: object) -> dict[str, object]:
    """One turn of Mizzen's C++ side."""
    program = f"{build}/benchmarks/tracking/mizzen_tracking_peer"
    out = json.loads(subprocess.run([program, what, uri, *map(str, arguments)], check=True, stdout=subprocess.PIPE).stdout)
    if out.get("refused"):
        sys.exit(f"{what}: {out['refused']} points were refused, so that the figures mean nothing")
    return out


def on_new_store(build: str, what: str, *arguments: object) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        out = peer(build, what, f"sqlite:///{folder}/mlflow.db", *arguments)
        out["disk_bytes"] = os.path.getsize(f"{folder}/mlflow.db")
    return out


def empty_store(folder: str) -> str:
    """The file of a store that Mizzen has made; MLflow opens it as it is."""
    mizzen.tracking.Client(f"sqlite:///{folder}/mlflow.db")
    return f"{folder}/mlflow.db"


def threads_of_mlflow(client: MlflowClient, run_id: str, threads: int, calls: int) -> tuple[list[float], float]:
    """Seconds of each call of log_metric, and calls per second of all threads."""
    times: list[list[float]] = [[] for _ in range(threads)]

    def work(own: list[float], key: str) -> None:
        for step in range(calls):
            start = time.perf_counter()
            client.log_metric(run_id, key, 0.5, step=step)
            own.append(time.perf_counter() - start)

    began = time.perf_counter()
    workers = [threading.Thread(target=work, args=(own, f"loss/{i}/{began}")) for i, own in enumerate(times)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    took = time.perf_counter() - began
    together = sorted(second for own in times for second in own)
    return together, len(together) / took


def at(sorted_values: list[float], share: float) -> float:
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))]


def compare_writer(records: Records, build: str, name: str) -> None:
    """log_metric of a C++ loop while the drain runs, and the way of many points into SQLite."""
    for threads in (1, 4):
        ours, theirs = [], []
        with tempfile.TemporaryDirectory() as folder:
            client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
            run_id = client.create_run(client.create_experiment("bench")).info.run_id
            client.log_metric(run_id, "warm-up", 0)
            for _ in range(ROUNDS):
                # 20 us of work between two calls: the drain has something to do all the time.
                ours.append(on_new_store(build, "latency", threads, 200_000 // threads, 20))
                theirs.append(threads_of_mlflow(client, run_id, threads, 1000 // threads))
        case = f"log_metric while draining, {threads} thread{'s' if threads > 1 else ''}"
        for metric, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
            records.add(case, metric, "us", statistics.median(one[metric] for one in ours), name,
                        statistics.median(at(times, share) for times, _ in theirs) * 1e6)
        bare = [on_new_store(build, "latency", threads, 1_000_000 // threads, 0) for _ in range(ROUNDS)]
        records.add(f"log_metric calls back to back, {threads} thread{'s' if threads > 1 else ''}", "median", "calls/s",
                    statistics.median(one["calls_per_second"] for one in bare), name,
                    statistics.median(rate for _, rate in theirs), lower_is_better=False)

    ours, rates, disk, memory = [], [], [], []
    for _ in range(ROUNDS):
        ours.append(on_new_store(build, "sustained", 1_000_000, 20))
        with tempfile.TemporaryDirectory() as folder:
            client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
            run_id = client.create_run(client.create_experiment("bench")).info.run_id
            before = os.path.getsize(f"{folder}/mlflow.db")
            used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            batches, size = 30, 1000
            start = time.perf_counter()
            for batch in range(batches):
                now = int(time.time() * 1000)
                client.log_batch(run_id, [Metric(f"metric/{i % 20}", 0.5, now, batch * size // 20 + i // 20) for i in range(size)])
            rates.append(batches * size / (time.perf_counter() - start))
            disk.append((os.path.getsize(f"{folder}/mlflow.db") - before) / (batches * size))
            memory.append((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used) / 1024)
    case = "points into SQLite, 20 metrics (MLflow: batches of 1000)"
    records.add(case, "median", "points/s", statistics.median(one["points_per_second"] for one in ours), name,
                statistics.median(rates), lower_is_better=False)
    records.add(case, "disk", "B/point", statistics.median(one["disk_bytes"] for one in ours) / 1_000_000, name, statistics.median(disk))
    print(f"memory above the start: Mizzen {statistics.median(one['memory_mib'] for one in ours):.0f} MiB for 1,000,000 points "
          f"with a log of 64 MiB, MLflow {max(memory):.0f} MiB for 30,000 points")


def compare_server(records: Records, build: str, name: str) -> None:
    """Points into a real MLflow server, by the REST API."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ended:
        url = start_server(pathlib.Path(folder), f"sqlite:///{empty_store(folder)}", ended.callback)
        client = MlflowClient(tracking_uri=url)
        run_id = client.create_run(client.create_experiment("theirs")).info.run_id
        client.log_metric(run_id, "warm-up", 0)
        ours, theirs, singles = [], [], []
        for turn in range(ROUNDS):
            ours.append(peer(build, "sustained", url, 50_000, 20)["points_per_second"])
            start = time.perf_counter()
            for batch in range(20):
                now = int(time.time() * 1000)
                client.log_batch(run_id, [Metric(f"turn{turn}/{i % 20}", 0.5, now, batch * 50 + i // 20) for i in range(1000)])
            theirs.append(20_000 / (time.perf_counter() - start))
            start = time.perf_counter()
            for step in range(100):
                client.log_metric(run_id, f"single{turn}", 0.5, step=step)
            singles.append(100 / (time.perf_counter() - start))
        case = "points into an MLflow server"
        for against, rates in (("batches of 1000", theirs), ("single calls", singles)):
            records.add(f"{case} (MLflow: {against})", "median", "points/s", statistics.median(ours), name,
                        statistics.median(rates), lower_is_better=False)


SEARCHES = (
    ("all runs", "", 3),
    ("metric and parameter", "metrics.metric0 > 0.9 AND params.param1 = '3'", 20),
    ("tag ILIKE", "tags.tag2 ILIKE '%7'", 10),
)


def compare_search(records: Records, build: str, name: str, runs: int) -> None:
    """All pages of a search, 1,000 runs each, as the caller gets them: with metrics, parameters and tags."""
    with tempfile.TemporaryDirectory() as folder:
        path = empty_store(folder)
        fill_runs(path, runs)
        client = MlflowClient(tracking_uri=f"sqlite:///{path}")
        experiments = [e.experiment_id for e in client.search_experiments()]

        def search(filter_string: str) -> int:
            found, token = 0, None
            while True:
                page = client.search_runs(experiments, filter_string, max_results=1000, page_token=token)
                found += len(page)
                token = page.token
                if not token:
                    return found

        for what, filter_string, rounds in SEARCHES:
            few = max(1, rounds * 10_000 // runs // 2)
            ours, theirs = [], []
            for turn in range(2):
                answer = peer(build, "search", f"sqlite:///{path}", filter_string, few)
                ours += answer["seconds"]
                for _ in range(few):
                    start = time.perf_counter()
                    if search(filter_string) != answer["found"]:
                        sys.exit(f"{what}: Mizzen found {answer['found']} runs, MLflow another number")
                    theirs.append(time.perf_counter() - start)
            records.add_times(f"search of {runs:,} runs, {what}: {answer['found']:,} found", "ms", ours, name, theirs, 1e3)


def compare_history(records: Records, build: str, name: str, points: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = empty_store(folder)
        run_id = fill_history(path, points)
        uri = f"sqlite:///{path}"
        script = ("import json, resource, sys, time; from mlflow.tracking import MlflowClient; c = MlflowClient(tracking_uri=sys.argv[1]);"
                  "c.get_run(sys.argv[2]); before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; start = time.perf_counter();"
                  "points = len(c.get_metric_history(sys.argv[2], 'loss')); seconds = time.perf_counter() - start;"
                  "print(json.dumps({'points': points, 'seconds': seconds,"
                  "'memory_mib': (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}))")
        ours = peer(build, "history", uri, run_id, "loss")
        if ours["points"] != points:
            sys.exit(f"history: {ours['points']} points instead of {points}")
        case = f"history of {points:,} points"
        command = [sys.executable, "-c", script, uri, run_id]
        try:
            theirs = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=PATIENCE).stdout)
        except subprocess.TimeoutExpired:
            print(f"{case}: {ours['memory_mib']:.0f} MiB")
            return records.add(f"{case} (MLflow: given up)", "at least", "s", ours["seconds"], name, PATIENCE)
        if theirs["points"] != points:
            sys.exit(f"history: MLflow has {theirs['points']} points instead of {points}")
        records.add(case, "single", "s", ours["seconds"], name, theirs["seconds"])
        print(f"{case}: {ours['memory_mib']:.0f} MiB, MLflow {theirs['memory_mib']:.0f} MiB")


def compare_calls(records: Records, name: str) -> None:
    """Single calls from Python, on both sides."""
    with tempfile.TemporaryDirectory() as folder:
        theirs = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
        ours = mizzen.tracking.Client(f"sqlite:///{folder}/mizzen.db")
        safe = mizzen.tracking.Client(f"sqlite:///{folder}/safe.db", power_safe=True)
        their_run = theirs.create_run(theirs.create_experiment("bench")).info.run_id
        with ours.start_run("bench") as run:
            count = 0

            def step() -> int:
                nonlocal count
                count += 1
                return count

            def add(case: str, mizzen_call, mlflow_call, rounds: int, unit: str, scale: float) -> None:
                mine, other = interleaved(mizzen_call, mlflow_call, rounds)
                records.add_times(case, unit, mine, name, other, scale)

            add("log one metric", lambda: run.log_metric("loss", 0.5, step=step()),
                lambda: theirs.log_metric(their_run, "loss", 0.5, step=step()), 300, "us", 1e6)
            with safe.start_run("bench") as safe_run:
                add("log one metric, power-safe", lambda: safe_run.log_metric("loss", 0.5, step=step()),
                    lambda: theirs.log_metric(their_run, "loss", 0.5, step=step()), 100, "us", 1e6)
            add("log 20 metrics of a step", lambda: run.log_metrics({f"m{i}": 0.5 for i in range(20)}, step=step()),
                lambda: theirs.log_batch(their_run, [Metric(f"m{i}", 0.5, int(time.time() * 1000), step()) for i in range(20)]),
                100, "us", 1e6)
            add("log 100 parameters", lambda: run.log_params({f"p{step()}-{i}": i for i in range(100)}),
                lambda: theirs.log_batch(their_run, params=[Param(f"p{step()}-{i}", str(i)) for i in range(100)]), 30, "ms", 1e3)
            add("set a tag", lambda: run.set_tag("note", step()), lambda: theirs.set_tag(their_run, "note", step()),
                100, "us", 1e6)
            add("read a run", lambda: ours.get_run(run.id), lambda: theirs.get_run(their_run), 30, "ms", 1e3)


def main() -> None:
    records = Records()
    build, version = sys.argv[1], f"MLflow {mlflow.__version__}"
    name = f"{version}, SQLite store"
    if "writer" in ONLY:
        compare_writer(records, build, name)
    if "server" in ONLY:
        compare_server(records, build, f"{version}, server")
    if "search" in ONLY:
        for runs in (10_000, 100_000):
            compare_search(records, build, name, runs)
    if "history" in ONLY:
        for points in sorted({1_000_000, LONGEST}):
            compare_history(records, build, name, points)
    if "calls" in ONLY:
        compare_calls(records, name)
    records.write_over(sys.argv[2], RESULTS)


main()
