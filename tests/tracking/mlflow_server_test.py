"""MLflow's own server on a store that C++ wrote: mlflow_server_test.py STORE_PROGRAM

One worker; it takes from seconds to more than a minute to start. Meanwhile C++ goes on writing."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

from mlflow_server import start_server

PROGRAM = os.path.abspath(sys.argv.pop(1))

import onnx
from onnx import TensorProto, helper


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

    def call(self, url, body=None):
        request = urllib.request.Request(
            url, data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def test_server_answers_from_a_store_that_cpp_writes(self):
        facts = self.write("mlflow.db")
        base = start_server(self.folder, facts["uri"], self.addCleanup)
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
