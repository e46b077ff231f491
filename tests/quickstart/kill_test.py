"""Kills the quickstart with SIGKILL in mid-training, many times: kill_test.py PROGRAM STORE_PROGRAM [TIMES]

A point is acknowledged once it is in the write-ahead log; whoever opens the store next brings it there, here STORE_PROGRAM.
After each kill the store must open, be whole, hold every metric that was acknowledged before the kill (the program reports
an epoch only after log_metrics has returned), and show the run as not finished.
"""
import pathlib
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

program, store_program = sys.argv[1:3]
times = int(sys.argv[3]) if len(sys.argv) > 3 else 10
random.seed(times)
REPORT = re.compile(rb"train\[(\d)\]: epoch (\d+) of")


def kill_once(root: pathlib.Path) -> int:
    process = subprocess.Popen([program, f"--root={root}", "--epochs=1000000"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        # From the first acknowledged epoch on, at any moment.
        first = b""
        while not REPORT.search(first):
            first = process.stderr.readline()
            assert first, "the program ended before it trained"
        time.sleep(random.random() * 0.5)
    finally:
        process.send_signal(signal.SIGKILL)
    # What was in the pipe at the kill counts too; a line that the kill cut off does not.
    lines = (first + process.stderr.read()).split(b"\n")[:-1]
    assert process.wait() == -signal.SIGKILL
    acknowledged = {}
    for line in lines:
        if match := REPORT.search(line):
            acknowledged[int(match[1])] = set(range(int(match[2])))
    assert acknowledged

    subprocess.run([store_program, "flush", root / "mlflow.db", "60"], check=True)
    store = sqlite3.connect(root / "mlflow.db")
    assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for candidate, steps in acknowledged.items():
        runs = store.execute("SELECT run_uuid, status, end_time FROM runs WHERE name = ? ORDER BY start_time DESC",
                             (f"train[{candidate}]",)).fetchall()
        run_id, status, end_time = runs[0]
        assert status == "RUNNING" and end_time is None, f"status {status}"
        for key in ("loss", "validation_accuracy"):
            stored = {step for (step,) in store.execute("SELECT step FROM metrics WHERE run_uuid = ? AND key = ?",
                                                        (run_id, key))}
            assert not steps - stored, f"{key}: acknowledged but lost: {sorted(steps - stored)[:5]}"
            # The program may have written points whose report was not out yet, but nothing out of order.
            assert stored == set(range(len(stored))), f"{key}: holes"
            latest = store.execute("SELECT step FROM latest_metrics WHERE run_uuid = ? AND key = ?", (run_id, key))
            assert latest.fetchone() == (len(stored) - 1,)
    store.close()
    return sum(map(len, acknowledged.values()))


with tempfile.TemporaryDirectory() as folder:
    total = 0
    # One store for all: each start opens what the kill before it left.
    for i in range(times):
        total += kill_once(pathlib.Path(folder) / "root")
print(f"{times} kills, {total} acknowledged points of each metric, none lost")
