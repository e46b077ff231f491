#!/usr/bin/env python3
# venv: mlflow
"""The embedded store against MLflow's own client on its own SQLite store, both from Python.

MLflow's store waits for the disk at each write; Mizzen's promises to survive the process, and the disk
too when asked to (power_safe). Both are measured.

What logging costs a C++ loop (mizzen_tracking_peer) is set against the same calls of MLflow's client in
Python, since there is no other; the turns alternate.

usage: tracking.compare.py BUILD_FOLDER RESULT_FILE    (benchmarks/run.sh calls it)
"""
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # nothing but the store is to be measured
import mizzen
import mlflow
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient
from record import Records, interleaved


def measured(build: str, *arguments: object) -> dict[str, float]:
    """One turn of Mizzen's C++ side on a new store."""
    with tempfile.TemporaryDirectory() as folder:
        what, *rest = map(str, arguments)
        program = f"{build}/benchmarks/tracking/mizzen_tracking_peer"
        out = json.loads(subprocess.run([program, what, folder, *rest], check=True, stdout=subprocess.PIPE).stdout)
    if out["refused"]:
        sys.exit(f"{what}: {out['refused']} points were refused, so that the figures mean nothing")
    return out


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


def compare_writer(records: Records, build: str, peer: str) -> None:
    """log_metric of a C++ loop while the drain runs, and the way of many points into SQLite."""
    rounds = int(os.environ.get("MIZZEN_BENCH_ROUNDS", "3"))
    for threads in (1, 4):
        ours, theirs = [], []
        with tempfile.TemporaryDirectory() as folder:
            client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
            run_id = client.create_run(client.create_experiment("bench")).info.run_id
            client.log_metric(run_id, "warm-up", 0)
            for _ in range(rounds):
                # 20 us of work between two calls: the drain has something to do all the time.
                ours.append(measured(build, "latency", threads, 200_000 // threads, 20))
                theirs.append(threads_of_mlflow(client, run_id, threads, 1000 // threads))
        case = f"log_metric while draining, {threads} thread{'s' if threads > 1 else ''}"
        for metric, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
            records.add(case, metric, "us", statistics.median(one[metric] for one in ours), peer,
                        statistics.median(at(times, share) for times, _ in theirs) * 1e6)
        bare = [measured(build, "latency", threads, 1_000_000 // threads, 0) for _ in range(rounds)]
        records.add(f"log_metric calls back to back, {threads} thread{'s' if threads > 1 else ''}", "median", "calls/s",
                    statistics.median(one["calls_per_second"] for one in bare), peer,
                    statistics.median(rate for _, rate in theirs), lower_is_better=False)

    ours, rates, disk, memory = [], [], [], []
    for _ in range(rounds):
        ours.append(measured(build, "sustained", 1_000_000, 20))
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
    records.add(case, "median", "points/s", statistics.median(one["points_per_second"] for one in ours), peer,
                statistics.median(rates), lower_is_better=False)
    records.add(case, "disk", "B/point", statistics.median(one["disk_bytes_per_point"] for one in ours), peer, statistics.median(disk))
    print(f"memory above the start: Mizzen {statistics.median(one['memory_mib'] for one in ours):.0f} MiB for 1,000,000 points "
          f"with a log of 64 MiB, MLflow {max(memory):.0f} MiB for 30,000 points")


def main() -> None:
    records = Records()
    peer = f"MLflow {mlflow.__version__}, SQLite store"
    compare_writer(records, sys.argv[1], peer)
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
                records.add_times(case, unit, mine, peer, other, scale)

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
    records.write(sys.argv[2])


main()
