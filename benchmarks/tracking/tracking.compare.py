#!/usr/bin/env python3
# venv: mlflow
"""The embedded store against MLflow's own client on its own SQLite store, both from Python.

MLflow's store waits for the disk at each write; Mizzen's promises to survive the process, and the disk
too when asked to (power_safe). Both are measured.

usage: tracking.compare.py BUILD_FOLDER RESULT_FILE    (benchmarks/run.sh calls it)
"""
import os
import sys
import tempfile
import time

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # nothing but the store is to be measured
import mizzen
import mlflow
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient
from record import Records, interleaved


def main() -> None:
    records = Records()
    peer = f"MLflow {mlflow.__version__}, SQLite store"
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
