"""MLflow's own server on a store that C++ wrote: mlflow_server_test.py STORE_PROGRAM

One worker; it takes from seconds to more than a minute to start. Meanwhile C++ goes on writing."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

PROGRAM = os.path.abspath(sys.argv.pop(1))
START_SECONDS = 300

import onnx
from onnx import TensorProto, helper


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ServerTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name).resolve()
        value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2])
        graph = helper.make_graph(
            [helper.make_node("Relu", ["x"], ["y"])], "relu", [value("x")], [value("y")]
        )
        onnx.save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
            self.folder / "relu.onnx",
        )

    def write(self, name):
        done = subprocess.run(
            [PROGRAM, "write", self.folder / name, self.folder / "relu.onnx"],
            capture_output=True, text=True, check=True,
        )
        return json.loads(done.stdout)

    def start_server(self, uri):
        port = free_port()
        log = open(self.folder / "server.log", "wb")
        self.addCleanup(log.close)
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--workers", "1",
             "--host", "127.0.0.1", "--port", str(port)],
            stdout=log, stderr=subprocess.STDOUT, cwd=self.folder, start_new_session=True,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )

        def stop():
            # The process group that was started here, and nothing else.
            for how in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(server.pid, how)
                except ProcessLookupError:
                    break
                try:
                    server.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    continue
                time.sleep(1)

        self.addCleanup(stop)
        base = f"http://127.0.0.1:{port}"
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(base + "/health", timeout=5) as answer:
                    if answer.status == 200:
                        return base
            except OSError:
                pass
            said = (self.folder / "server.log").read_text(errors="replace")
            if server.poll() is not None:
                self.fail(f"the server ended with {server.returncode}:\n{said[-4000:]}")
            if time.monotonic() > until:
                self.fail(f"the server did not answer in {START_SECONDS} s:\n{said[-4000:]}")
            time.sleep(0.5)

    def call(self, url, body=None):
        request = urllib.request.Request(
            url, data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def test_server_answers_from_a_store_that_cpp_writes(self):
        facts = self.write("mlflow.db")
        base = self.start_server(facts["uri"])
        api = base + "/api/2.0/mlflow"
        search = {
            "experiment_ids": [facts["experiment_id"]],
            "filter": "metrics.loss < 0.5 and attributes.status = 'FINISHED'",
        }
        (run,) = self.call(api + "/runs/search", search)["runs"]
        self.assertEqual(run["info"]["run_id"], facts["parent"])
        self.assertIn({"key": "rate", "value": "0.1"}, run["data"]["params"])
        version = self.call(
            api + "/registered-models/alias?name=digits-classifier&alias=champion"
        )["model_version"]
        self.assertEqual(version["version"], "2")

        # C++ writes under the running server, which serves it at once.
        log = self.folder / "train.log"
        trainer = subprocess.Popen([PROGRAM, "train", self.folder / "mlflow.db", log])
        try:
            while not log.exists() or log.read_text().count("metric loss") < 200:
                self.assertIsNone(trainer.poll())
                time.sleep(0.05)
            trained = log.read_text().split()[1]
            history = self.call(
                api + f"/metrics/get-history?run_id={trained}&metric_key=loss&max_results=5000"
            )["metrics"]
            self.assertGreaterEqual(len(history), 200)
        finally:
            trainer.kill()
            trainer.wait()

        # The server writes, C++ reads.
        self.call(api + "/runs/log-metric", {
            "run_id": facts["child"], "key": "from server", "value": 2.5, "timestamp": 7, "step": 1,
        })
        seen = json.loads(subprocess.run(
            [PROGRAM, "read", self.folder / "mlflow.db", "written by C++"],
            check=True, capture_output=True, text=True,
        ).stdout)
        (child,) = [r for r in seen["runs"] if r["id"] == facts["child"]]
        self.assertEqual(child["metrics"]["from server"]["value"], 2.5)

        with urllib.request.urlopen(base + "/", timeout=60) as page:
            self.assertIn("text/html", page.headers["Content-Type"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
