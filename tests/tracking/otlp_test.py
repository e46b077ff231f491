"""Metrics by OTLP into the OpenTelemetry Collector's own receiver, which writes down what it takes; the processes that
log are killed, the receiver is killed and started again, and the network between them fails:
otlp_test.py CAMPAIGN_PROGRAM [KILLS]

OTLP cannot tell an export from its repetition, so that the receiver may get a point twice: then the same to the bit.
"""
import collections
import json
import os
import pathlib
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

from fault_proxy import FaultProxy
from mlflow_server import free_port

KILLS = int(sys.argv.pop(2)) if len(sys.argv) > 2 else 12
PROGRAM = os.path.abspath(sys.argv.pop(1))
BUILD = pathlib.Path(__file__).resolve().parent / "collector" / "build.sh"
ROUNDS = 1_000_000
# Those that OTLP lets a client get over; after 404 and 500 it must not try again.
FAULTS = ["cut before", "cut after", "cut within", "refused 502", "refused 503", "refused 429", "silent before",
          "silent after", "twice", "answered twice"]


class OtlpTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        built = subprocess.run([BUILD], stdout=subprocess.PIPE, text=True)
        if built.returncode != 0:
            print("SKIPPED: the OpenTelemetry Collector's receiver could not be built (see above)")
            sys.exit(77)
        cls.collector = built.stdout.strip()

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name).resolve()
        self.port = free_port()
        self.taken = self.folder / "taken.jsonl"
        self.server = None
        self.addCleanup(self.stop)
        self.start()

    def start(self):
        self.server = subprocess.Popen([self.collector, f"127.0.0.1:{self.port}", self.taken], stdout=subprocess.PIPE)
        self.assertEqual(self.server.stdout.readline(), b"ready\n")

    def stop(self, how=signal.SIGTERM):
        self.server.send_signal(how)
        self.server.wait()
        self.server.stdout.close()

    def cpp(self, url, *args, **variables):
        done = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, env=self.environment(url, variables))
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    @staticmethod
    def environment(url, variables):
        return {**os.environ, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": url + "/v1/metrics",
                "OTEL_EXPORTER_OTLP_TIMEOUT": "5000", **variables}

    def exports(self):
        """(resource attributes, metric name, point) of everything that the receiver took."""
        for line in self.taken.read_text().splitlines():
            for resource in json.loads(line)["resourceMetrics"]:
                attributes = {a["key"]: a["value"] for a in resource["resource"]["attributes"]}
                for scope in resource["scopeMetrics"]:
                    self.assertEqual(scope["scope"]["name"], "mizzen.tracking")
                    for metric in scope["metrics"]:
                        for point in metric["gauge"]["dataPoints"]:
                            yield attributes, metric["name"], point

    def log_and_kill(self, url, db, runs, number, counters, pause, **variables):
        worker = subprocess.Popen([PROGRAM, "log", db, self.folder / "logs", counters, str(number), runs[0]],
                                  env=self.environment(url, variables))
        until = time.monotonic() + 60
        while self.acknowledged(counters, number)[0] == 0:
            self.assertIsNone(worker.poll())
            self.assertLess(time.monotonic(), until)
            time.sleep(0.002)
        time.sleep(pause)
        worker.kill()
        worker.wait()

    @staticmethod
    def acknowledged(counters, process):
        with open(counters, "rb") as file:
            file.seek(16 * process)
            return struct.unpack("<2q", file.read(16))

    def test_what_is_logged_arrives(self):
        url = f"http://127.0.0.1:{self.port}"
        db = self.folder / "mlflow.db"
        counters = self.folder / "counters"
        counters.write_bytes(bytes(16))
        (run,) = self.cpp(url, "begin", db, 1).split()
        variables = {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_RESOURCE_ATTRIBUTES": "team=vision",
                     "OTEL_SERVICE_NAME": "trainer"}
        before = time.time_ns()
        self.log_and_kill(url, db, [run], 0, counters, 0.3, **variables)
        self.cpp(url, "drain", db, self.folder / "logs", 60, **variables)
        points = collections.defaultdict(set)
        for attributes, name, point in self.exports():
            self.assertEqual(attributes["service.name"], {"stringValue": "trainer"})
            self.assertEqual(attributes["team"], {"stringValue": "vision"})
            self.assertEqual(attributes["telemetry.sdk.name"], {"stringValue": "mizzen"})
            self.assertEqual(point["attributes"], [{"key": "mlflow.run_id", "value": {"stringValue": run}}])
            (exemplar,) = point["exemplars"]
            ((step),) = exemplar["filteredAttributes"]
            self.assertEqual(step["key"], "mlflow.step")
            self.assertEqual(int(step["value"]["intValue"]), int(point["asDouble"]))
            self.assertLess(before - 60e9, int(point["timeUnixNano"]))
            self.assertLess(int(point["timeUnixNano"]), time.time_ns() + 60e9)
            points[name].add(point["timeUnixNano"])
        for thread, count in enumerate(self.acknowledged(counters, 0)):
            self.assertIn(len(points[f"t{thread}"]) - count, (0, 1))

    def test_nothing_is_missing_whatever_fails(self):
        seed = random.SystemRandom().randrange(1 << 31)
        print("seed", seed)
        chance = random.Random(seed)
        proxy = FaultProxy(self.port, seed, faults=FAULTS)
        self.addCleanup(proxy.close)
        db = self.folder / "mlflow.db"
        counters = self.folder / "counters"
        counters.write_bytes(bytes(16 * KILLS))
        runs = self.cpp(proxy.url, "begin", db, 1).split()
        for number in range(KILLS):
            self.log_and_kill(proxy.url, db, runs, number, counters, chance.random() * 0.3)
            if number % 4 == 1:
                self.stop(signal.SIGKILL)
            elif number % 4 == 3:
                self.start()
        if self.server.poll() is not None:
            self.start()
        status = json.loads(self.cpp(proxy.url, "drain", db, self.folder / "logs", 300))
        self.assertTrue(status["whole"], status)
        self.assertEqual(list((self.folder / "logs").rglob("*")), [])

        seen = {}
        repeated = 0
        for _, name, point in self.exports():
            (exemplar,) = point["exemplars"]
            key = (name, point["timeUnixNano"], exemplar["filteredAttributes"][0]["value"]["intValue"])
            if key in seen:
                self.assertEqual(seen[key], point)
                repeated += 1
            seen[key] = point
        found = collections.Counter()
        for name, _, step in seen:
            found[(int(step) // ROUNDS, int(name[1:]))] += 1
        total = 0
        for process in range(KILLS):
            for thread, count in enumerate(self.acknowledged(counters, process)):
                self.assertIn(found[(process, thread)] - count, (0, 1), (process, thread))
                total += count
        # Nothing that keeps one value for a time of a series would hold two.
        self.assertEqual(len({(name, time) for name, time, _ in seen}), len(seen))
        counts = ", ".join(f"{count} {name}" for name, count in proxy.counts.most_common())
        print(f"{KILLS} kills, {total} points acknowledged, none missing, {repeated} sent again; {counts}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
