"""Processes that log to a real tracking server are killed at random points, behind a proxy that fails in every way,
while the server is killed and started again: nothing acknowledged may be missing from the server's own database,
and nothing may be there twice.

    rest_campaign.py CAMPAIGN_PROGRAM KILLS [--restarts N] [--seed N] [--at-once N]

The whole campaign: rest_campaign.py build/dev/tests/tracking/campaign_program 10000 --restarts 50
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time

from fault_proxy import FaultProxy
from mlflow_server import free_port, start_server

ROUNDS = 1_000_000  # of a thread of a process, at most
THREADS = 2
RUNS = 3


def may_be_late(method, path, body):
    return path.endswith("/runs/log-batch") and b'"tags"' not in body


class Campaign:
    def __init__(self, arguments, folder):
        self.program = os.path.abspath(arguments.program)
        self.kills = arguments.kills
        self.random = random.Random(arguments.seed)
        self.folder = folder
        self.db = folder / "mlflow.db"
        self.logs = folder / "logs"
        self.counters = folder / "counters"
        self.port = free_port()
        self.proxy = FaultProxy(self.port, arguments.seed, may_be_late=may_be_late)
        self.at_once = arguments.at_once
        # After so many kills each.
        self.restarts = sorted(self.random.sample(range(self.kills // 4, self.kills), arguments.restarts))
        self.complaints = open(folder / "processes.log", "wb")
        self.server_pid = None
        self.end_server = []
        self.environment = {**os.environ, "MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0.1",
                            "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0.1", "NO_PROXY": "*"}

    def cpp(self, *args):
        done = subprocess.run([self.program, *map(str, args)], capture_output=True, text=True, env=self.environment)
        if done.returncode != 0:
            raise RuntimeError(f"{args[0]}: {done.stderr}")
        return done.stdout

    def start_server(self):
        cleanups = []
        start_server(self.folder, f"sqlite:///{self.db}", lambda work: cleanups.append(work), port=self.port,
                     on_start=lambda pid: setattr(self, "server_pid", pid))
        self.end_server = cleanups

    def restart_server(self):
        os.killpg(self.server_pid, signal.SIGKILL)
        self.stop_server()
        self.start_server()

    def stop_server(self):
        for work in reversed(self.end_server):
            work()
        self.end_server = []

    def run(self):
        self.cpp("make", self.db)
        self.counters.write_bytes(bytes(8 * THREADS * self.kills))
        self.start_server()
        self.runs = self.cpp("begin", f"http://127.0.0.1:{self.port}", RUNS).split()
        self.kill_all()
        self.proxy.faulty = False
        status = json.loads(self.cpp("drain", self.proxy.url, self.logs, 600))
        self.proxy.wait_for_late()
        if not status["whole"] or status["rejected"]:
            raise AssertionError(f"not drained: {status}")
        left = [str(each) for each in self.logs.rglob("*")]
        if left:
            raise AssertionError(f"left behind: {left}")
        self.stop_server()
        return self.verify()

    def kill_all(self):
        """Several at once on one folder of logs; each is killed at a time of its own."""
        alive = []
        restarting = None
        restarts = list(self.restarts)
        begun = killed = 0
        while killed < self.kills:
            while len(alive) < self.at_once and begun < self.kills:
                worker = subprocess.Popen(
                    [self.program, "log", self.proxy.url, self.logs, self.counters, str(begun), self.runs[begun % RUNS]],
                    env=self.environment, stderr=self.complaints)
                # Some at any time from the start on, the others some time after they began to log.
                once_it_logs = self.random.random() < 0.7
                pause = self.random.random() * (2.0 if begun % 8 == 0 else 0.3)
                alive.append([worker, begun, time.monotonic() + (300 if once_it_logs else pause),
                              pause if once_it_logs else None])
                begun += 1
            time.sleep(0.002)
            now = time.monotonic()
            for each in list(alive):
                worker, number, at, pause = each
                if pause is not None and self.acknowledged(number)[0] > 0:
                    each[2:] = [now + pause, None]
                    continue
                if worker.poll() is not None:
                    raise AssertionError(f"process {number} ended by itself with {worker.returncode}")
                if now < at:
                    continue
                if pause is not None:
                    raise AssertionError(f"process {number} did not come to log in 300 s")
                worker.send_signal(signal.SIGKILL)
                worker.wait()
                alive.remove(each)
                killed += 1
            if restarts and killed >= restarts[0] and (restarting is None or not restarting.is_alive()):
                restarts.pop(0)
                restarting = threading.Thread(target=self.restart_server)
                restarting.start()
        if restarting is not None:
            restarting.join()

    def acknowledged(self, process):
        with open(self.counters, "rb") as file:
            file.seek(8 * THREADS * process)
            return struct.unpack("<2q", file.read(16))

    def verify(self):
        """What the server's database holds, against what the processes were told. One more round than that may be
        there: it was logged, and the kill forestalled the acknowledgement."""
        wrong = []
        database = sqlite3.connect(f"file:{self.db}?mode=ro", uri=True)
        promised = {(p, t): count for p in range(self.kills) for t, count in enumerate(self.acknowledged(p))}
        points = {(p, t): rest for p, t, *rest in database.execute(
            "SELECT step / ?1, CAST(substr(key, 2) AS INT), count(*), count(DISTINCT step), max(step % ?1), "
            "sum(value <> step), count(DISTINCT run_uuid) FROM metrics GROUP BY 1, 2", (ROUNDS,))}
        for key, count in promised.items():
            there, once, last, differ, runs = points.get(key, (0, 0, -1, 0, 0))
            if not (there == once == last + 1 and there in (count, count + 1) and differ == 0 and runs <= 1):
                wrong.append(f"points of {key}: {count} promised, {there} there, {once} different, the last {last}")
        params = {key: value for key, value in database.execute("SELECT key, value FROM params WHERE key LIKE 'p%.%.%'")}
        tags = {key: int(value) for key, value in database.execute("SELECT key, value FROM tags WHERE key LIKE 'tag%.%'")}
        for (p, t), count in promised.items():
            rounds = [i for i in range(0, min(count, 1000), 10)]
            wrong += [f"parameter p{p}.{t}.{i}" for i in rounds if params.pop(f"p{p}.{t}.{i}", None) != str(i)]
            # A parameter of the round that was not acknowledged any more.
            more = params.pop(f"p{p}.{t}.{count}", None)
            tag = tags.pop(f"tag{p}.{t}", None)
            last = rounds[-1] if rounds else None
            if tag not in ({last, count} if count < 1000 else {last}):
                wrong.append(f"tag {p}.{t}: {tag} there, {last} promised")
            if more not in (None, str(count)):
                wrong.append(f"parameter p{p}.{t}.{count} is {more}")
        wrong += [f"parameter {key} was never logged" for key in params] + [f"tag {key} was never logged" for key in tags]
        latest = database.execute(
            "SELECT count(*) FROM latest_metrics l JOIN metrics m USING (run_uuid, key) WHERE m.step > l.step").fetchone()
        if latest[0]:
            wrong.append(f"the latest of a metric is older than {latest[0]} of its points")
        if database.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            wrong.append("the database is damaged")
        if wrong:
            raise AssertionError(f"{len(wrong)} wrong:\n" + "\n".join(wrong[:20]))
        return sum(promised.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("kills", type=int)
    parser.add_argument("--restarts", type=int, default=1, help="how often the server is killed and started again")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--at-once", type=int, default=2, help="processes that log at a time")
    arguments = parser.parse_args()
    began = time.monotonic()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="mizzen-campaign-")).resolve()
    campaign = Campaign(arguments, folder)
    try:
        points = campaign.run()
    except BaseException:
        print(f"failed with --seed {arguments.seed}; what is left is in {folder}", file=sys.stderr)
        raise
    finally:
        campaign.stop_server()
        campaign.proxy.close()
    shutil.rmtree(folder)
    counts = ", ".join(f"{count} {name}" for name, count in campaign.proxy.counts.most_common())
    print(f"{arguments.kills} kills and {arguments.restarts} of the server in {time.monotonic() - began:.0f} s, "
          f"{points} acknowledged rounds, none lost, none doubled\nrequests: {counts}")


if __name__ == "__main__":
    main()
