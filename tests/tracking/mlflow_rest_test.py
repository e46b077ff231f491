"""C++ and Python on one tracking server, each reading what the other wrote:
mlflow_rest_test.py REST_PROGRAM

One server for all tests; it takes from seconds to more
than a minute to start."""
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from mlflow_server import start_server

PROGRAM = os.path.abspath(sys.argv.pop(1))

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
for proxy in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
    os.environ.pop(proxy, None)
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, RunTag


class RestTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name).resolve()
        cls.uri = start_server(cls.folder, f"sqlite:///{cls.folder}/mlflow.db", cls.addClassCleanup,
                               "--artifacts-destination", str(cls.folder / "artifacts"))
        cls.client = MlflowClient(cls.uri)

    def cpp(self, *args):
        done = subprocess.run(
            [PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=300, cwd=self.folder
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_python_reads_what_cpp_wrote(self):
        facts = self.cpp("write", self.uri)
        e = self.client.get_experiment_by_name("written by C++")
        self.assertEqual(e.experiment_id, facts["experiment_id"])
        self.assertEqual(e.tags["team"], "mizzen")
        self.assertEqual(e.tags["stage"], "early")

        run = self.client.get_run(facts["parent"])
        self.assertEqual(run.info.status, "FINISHED")
        self.assertGreaterEqual(run.info.end_time, run.info.start_time)
        self.assertEqual(run.info.run_name, "parent")
        self.assertEqual(run.data.tags["mlflow.user"], "tester")
        self.assertEqual(run.data.tags["kind"], "naïve — ünïcode")
        self.assertEqual(run.data.tags["quoted"], "it's a \"tag\"")
        self.assertEqual(run.data.tags["mlflow.note.content"], "a *note*")
        self.assertNotIn("gone", run.data.tags)
        self.assertEqual(run.data.params["seed"], "7")
        self.assertEqual(len(run.data.params), 251)
        self.assertEqual(run.data.params["p249"], "x" * 4000)
        history = self.client.get_metric_history(run.info.run_id, "loss")
        self.assertEqual(
            [(m.step, m.timestamp, m.value) for m in history],
            [(i, 1_700_000_000_000 + i, 1 / (i + 1)) for i in range(50)],
        )
        self.assertEqual(len(self.client.get_metric_history(run.info.run_id, "many")), 2500)
        self.assertTrue(math.isnan(run.data.metrics["odd/nan"]))
        self.assertEqual(run.data.metrics["odd/inf"], sys.float_info.max)
        (used,) = run.inputs.dataset_inputs
        self.assertEqual((used.dataset.name, used.dataset.digest), ("digits", "2b679e2b"))
        self.assertEqual([(t.key, t.value) for t in used.tags], [("mlflow.data.context", "training")])
        child = self.client.get_run(facts["child"])
        self.assertEqual(child.info.status, "FAILED")
        self.assertEqual(child.data.tags["mlflow.parentRunId"], run.info.run_id)

        model = self.client.get_registered_model("classifier")
        self.assertEqual(model.description, "of digits")
        self.assertEqual(model.tags, {"a": "b", "task": "classification"})
        self.assertEqual({k: int(v) for k, v in model.aliases.items()}, {"champion": 2})
        first = self.client.get_model_version("classifier", "1")
        self.assertEqual(first.run_id, run.info.run_id)
        self.assertEqual(first.source, run.info.artifact_uri + "/somewhere")
        self.assertEqual(first.description, "first")
        self.assertEqual(first.tags, {"quality": "poor"})
        self.assertEqual(self.client.get_model_version("classifier", "2").tags, {"quality": "good"})

        self.assertEqual([o.model_id for o in run.outputs.model_outputs], [facts["model_id"]])
        logged = self.client.get_logged_model(facts["model_id"])
        self.assertEqual((str(logged.status), logged.source_run_id), ("READY", run.info.run_id))
        self.assertEqual(logged.params["seed"], "7")
        self.assertEqual(len(logged.params), 251)
        self.assertIn("loss", {m.key for m in logged.metrics})
        third = self.client.get_model_version("classifier", "3")
        self.assertEqual(third.source, f"models:/{logged.model_id}")
        self.assertEqual(facts["third"]["run_id"], run.info.run_id)

        here = self.folder / "python"
        self.client.download_artifacts(run.info.run_id, "", str(here))
        self.assertEqual((here / "notes/hello.txt").read_text(), "hello\n")
        self.assertEqual(json.loads((here / "notes/odd näme +plus=name.json").read_text()), {"a": [1, 2, 3]})
        self.assertEqual((here / "uploads/data/one.bin").stat().st_size, 3_000_000)
        self.assertEqual((here / "uploads/data/deep/two.txt").read_text(), "two")
        self.assertEqual((here / "uploads/data/empty").stat().st_size, 0)
        self.assertFalse((here / "gone").exists())
        seen = self.cpp("download", self.uri, run.info.run_id, self.folder / "cpp")
        self.assertEqual(seen["top"], [["notes", True, 0], ["uploads", True, 0]])
        self.assertEqual(seen["missing"], "not_found")
        names = lambda top: sorted(str(p.relative_to(top)) for p in top.rglob("*"))
        self.assertEqual(names(self.folder / "cpp/all"), names(here))
        self.assertEqual(
            (self.folder / "cpp/all/uploads/data/one.bin").read_bytes(),
            (here / "uploads/data/one.bin").read_bytes(),
        )
        self.assertEqual((self.folder / "cpp/models/model/model.onnx").read_text(), "not looked into")
        self.assertIn("python_function", (self.folder / "cpp/models/model/MLmodel").read_text())

        # And C++ reads itself.
        seen = self.cpp("read", self.uri, "written by C++")
        self.assertEqual(len(seen["runs"]), 2)
        self.assertEqual(seen["finished"], 1)
        self.assertEqual(len(seen["runs"][0]["history"]["many"]), 2500)
        aliases = [v["aliases"] for v in seen["registered"]["classifier"]["versions"]]
        self.assertEqual(aliases, [[], ["champion"], []])

    def test_cpp_reads_what_python_wrote(self):
        c = self.client
        experiment = c.create_experiment("written by Python", tags={"team": "snakes"})
        run = c.create_run(experiment, run_name="slow", tags={"quoted": "it's a \"tag\""})
        rid = run.info.run_id
        c.log_batch(
            rid,
            metrics=[Metric("loss", 1 / (i + 1), 1000 + i, i) for i in range(30)]
            + [Metric("nan", math.nan, 5, 0), Metric("-inf", -math.inf, 5, 0)],
            params=[Param("rate", "0.1"), Param("empty", "")],
            tags=[RunTag("kind", "ünï")],
        )
        c.log_inputs(
            rid,
            [DatasetInput(Dataset("iris", "d1", "local", '{"uri": "/x"}'), [InputTag("mlflow.data.context", "test")])],
        )
        model = c.create_logged_model(experiment, name="m", source_run_id=rid, tags={"t": "u"})
        c.log_outputs(rid, [LoggedModelOutput(model.model_id, 0)])
        c.log_text(rid, "from Python", "a b/ünï.txt")
        c.set_terminated(rid)
        c.create_registered_model("py", tags={"a": "b"}, description="by Python")
        for _ in range(2):
            version = c.create_model_version(
                "py", f"models:/{model.model_id}", rid, tags={"v": "1"}, model_id=model.model_id
            )
        c.set_registered_model_alias("py", "best", version.version)

        seen = self.cpp("read", self.uri, "written by Python")
        self.assertEqual(seen["experiment"]["id"], experiment)
        self.assertEqual(seen["experiment"]["tags"]["team"], "snakes")
        self.assertIn("written by Python", seen["experiments"])
        (found,) = seen["runs"]
        self.assertEqual((found["id"], found["name"], found["status"]), (rid, "slow", "FINISHED"))
        self.assertEqual(found["params"], {"rate": "0.1", "empty": ""})
        self.assertEqual(found["tags"]["kind"], "ünï")
        self.assertEqual(found["metrics"]["nan"]["value"], "NaN")
        self.assertEqual(found["metrics"]["-inf"]["value"], -sys.float_info.max)
        self.assertEqual(
            found["history"]["loss"],
            [{"key": "loss", "value": 1 / (i + 1), "step": i, "timestamp": 1000 + i} for i in range(30)],
        )
        self.assertEqual(
            found["inputs"],
            [{"name": "iris", "digest": "d1", "source": '{"uri": "/x"}', "tags": {"mlflow.data.context": "test"}}],
        )
        self.assertEqual(found["model_ids"], [model.model_id])
        (logged,) = found["models"]
        self.assertEqual((logged["id"], logged["name"], logged["tags"]["t"]), (model.model_id, "m", "u"))
        self.assertEqual(seen["finished"], 1)
        self.cpp("download", self.uri, rid, self.folder / "py")
        self.assertEqual((self.folder / "py/all/a b/ünï.txt").read_text(), "from Python")
        registered = seen["registered"]["py"]
        self.assertEqual(registered["tags"], {"a": "b"})
        self.assertEqual(registered["description"], "by Python")
        self.assertEqual(registered["aliases"], {"best": 2})
        self.assertEqual(registered["by alias"], {"best": 2})
        self.assertEqual([v["version"] for v in registered["versions"]], [2, 1])
        self.assertEqual(registered["versions"][0]["run_id"], rid)
        self.assertEqual(registered["versions"][0]["tags"], {"v": "1"})
        self.assertEqual(registered["versions"][0]["status"], "READY")

    def test_cpp_changes_and_deletes(self):
        facts = self.cpp("edit", self.uri, "edited ")
        e = self.client.get_experiment(facts["experiment_id"])
        self.assertEqual((e.name, e.lifecycle_stage), ("edited second", "active"))
        self.assertNotIn("x", e.tags)
        self.assertTrue(facts["deleted"] and facts["gone"])
        run = self.client.get_run(facts["run_id"])
        self.assertEqual((run.info.run_name, run.info.lifecycle_stage), ("two", "active"))
        tags = self.client.get_logged_model(facts["model_id"]).tags
        self.assertEqual(tags["a b"], "c")
        self.assertNotIn("gone", tags)
        model = self.client.get_registered_model("edited model")
        self.assertEqual((model.description, model.tags), ("new words", {"y": "2"}))
        stages = {
            int(v.version): v.current_stage
            for v in self.client.search_model_versions("name = 'edited model'")
        }
        self.assertEqual(stages, {1: "Archived", 2: "Production", 3: "None"})
        self.assertEqual(facts["latest"], [[3, "None"], [2, "Production"], [1, "Archived"]])
        third = self.client.get_model_version("edited model", "3")
        self.assertEqual((third.description, third.tags), ("third", {}))
        self.assertEqual(facts["where"], facts["location"])
        copy = self.client.get_model_version("edited copy", "1")
        self.assertEqual((copy.source, copy.tags), ("models:/edited model/2", {"t": "1"}))
        with self.assertRaises(MlflowException):
            self.client.get_registered_model("edited doomed")


if __name__ == "__main__":
    unittest.main(verbosity=2)
