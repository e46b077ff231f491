"""The store and the real MLflow, both ways round: mlflow_test.py STORE_PROGRAM"""
import json
import math
import os
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import unittest

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
PROGRAM = os.path.abspath(sys.argv.pop(1))

import mlflow
import numpy as np
import onnx
from mlflow import MlflowClient
from onnx import TensorProto, helper


def relu_model(path):
    tensor = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2])
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "relu", [tensor("x")], [tensor("y")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return model


def program(*arguments):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{arguments} gave {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def schema_of(path):
    """MLflow's tables by name. Lines are sorted: it writes constraints in no fixed order."""
    with sqlite3.connect(path) as database:
        return {
            name: sorted(line.strip(", \t") for line in sql.splitlines())
            for name, sql in database.execute(
                "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL "
                "AND name NOT LIKE 'mizzen_%'"
            )
        }


class StoreTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name).resolve()
        # Not where the store is: nothing in it may depend on the working directory.
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        previous = os.getcwd()
        os.chdir(elsewhere)
        self.addCleanup(os.chdir, previous)
        self.onnx = self.folder / "relu.onnx"
        self.model = relu_model(self.onnx)

    def written(self):
        facts = program("write", self.folder / "store" / "mlflow.db", self.onnx)
        mlflow.set_tracking_uri(facts["uri"])
        mlflow.set_registry_uri(facts["uri"])
        return facts, MlflowClient()

    def check_runs(self, facts, client):
        experiment = client.get_experiment_by_name("written by C++")
        self.assertEqual(experiment.experiment_id, facts["experiment_id"])
        self.assertEqual(experiment.tags, {"team": "mizzen"})
        self.assertEqual(client.get_experiment("0").name, "Default")

        run = client.get_run(facts["parent"])
        self.assertEqual(run.info.status, "FINISHED")
        self.assertEqual(run.info.run_name, "parent")
        self.assertEqual(run.info.user_id, "tester")
        self.assertGreaterEqual(run.info.end_time, run.info.start_time)
        self.assertEqual(run.data.params, {"rate": "0.1", "layers": "64,32", "seed": "7"})
        self.assertEqual(run.data.tags["kind"], "naïve — ünïcode")
        self.assertEqual(run.data.tags["mlflow.note.content"], "a *note*")
        self.assertEqual(run.data.tags["mlflow.user"], "tester")
        self.assertTrue(run.data.tags["mlflow.source.name"].endswith("store_program"))
        self.assertEqual(run.data.metrics["loss"], 1 / 50)
        self.assertEqual(run.data.metrics["late"], 1.0)
        self.assertTrue(math.isnan(run.data.metrics["odd/nan"]))
        self.assertEqual(run.data.metrics["odd/inf"], sys.float_info.max)
        self.assertEqual(run.data.metrics["odd/-inf"], -sys.float_info.max)
        history = client.get_metric_history(facts["parent"], "loss")
        self.assertEqual(
            [(m.step, m.value, m.timestamp) for m in history],
            [(i, 1 / (i + 1), 1_700_000_000_000 + i) for i in range(50)],
        )
        child = client.get_run(facts["child"])
        self.assertEqual(child.info.status, "FAILED")
        self.assertEqual(child.data.tags["mlflow.parentRunId"], facts["parent"])
        found = client.search_runs(
            [facts["experiment_id"]], "metrics.loss < 0.5 and params.rate = '0.1'"
        )
        self.assertEqual([r.info.run_id for r in found], [facts["parent"]])

        (used,) = run.inputs.dataset_inputs
        self.assertEqual((used.dataset.name, used.dataset.digest), ("digits", "2b679e2b"))
        self.assertEqual([(t.key, t.value) for t in used.tags], [("mlflow.data.context", "training")])
        self.assertEqual(mlflow.data.get_source(used.dataset).uri, "/data/digits.npy")

    def check_artifacts(self, facts, client):
        self.assertEqual(client.get_run(facts["parent"]).info.artifact_uri, facts["artifacts"])
        listed = {a.path: a.is_dir for a in client.list_artifacts(facts["parent"])}
        self.assertEqual(listed, {"confusion.svg": False, "notes": True})
        text = client.download_artifacts(facts["parent"], "notes/hello.txt")
        self.assertEqual(pathlib.Path(text).read_text(), "hello\n")
        self.assertEqual(mlflow.artifacts.load_dict(facts["artifacts"] + "/notes/a.json"), {"a": [1, 2, 3]})

    def check_models(self, facts, client):
        logged = client.get_logged_model(facts["model_id"])
        self.assertEqual(str(logged.status), "READY")
        self.assertEqual(logged.source_run_id, facts["parent"])
        self.assertEqual(logged.params["rate"], "0.1")
        self.assertIn("loss", {m.key for m in logged.metrics})
        (output,) = client.get_run(facts["parent"]).outputs.model_outputs
        self.assertEqual(output.model_id, facts["model_id"])
        found = client.search_logged_models([facts["experiment_id"]])
        self.assertEqual([m.model_id for m in found], [facts["model_id"]])

        version = client.get_model_version_by_alias("digits-classifier", "champion")
        self.assertEqual(int(version.version), 2)
        self.assertEqual(version.run_id, facts["parent"])
        self.assertEqual(version.source, facts["model_uri"])
        first = client.get_model_version("digits-classifier", "1")
        self.assertEqual((first.description, first.tags, first.status), ("first", {"a": "b"}, "READY"))
        registered = client.get_registered_model("digits-classifier")
        self.assertEqual(registered.tags, {"task": "classification"})
        self.assertEqual({k: int(v) for k, v in registered.aliases.items()}, {"champion": 2})

        for uri in (facts["model_uri"], "models:/digits-classifier@champion",
                    "models:/digits-classifier/1", f"runs:/{facts['parent']}/model"):
            with self.subTest(uri=uri):
                loaded = mlflow.onnx.load_model(uri)
                self.assertEqual(loaded.SerializeToString(), self.model.SerializeToString())
        predictor = mlflow.pyfunc.load_model("models:/digits-classifier@champion")
        self.assertEqual(predictor.metadata.metadata, {"made by": 'C++ "quoted" 😀\n'})
        self.assertEqual(predictor.metadata.signature.inputs.input_names(), ["x"])
        answer = predictor.predict(np.array([[-1, 2]], dtype=np.float32))
        np.testing.assert_array_equal(answer["y"], [[0, 2]])

    def test_mlflow_reads_what_cpp_wrote(self):
        facts, client = self.written()
        self.check_runs(facts, client)
        self.check_artifacts(facts, client)
        self.check_models(facts, client)

    def test_upgrade_keeps_all_and_cpp_reads_what_mlflow_wrote(self):
        facts, client = self.written()
        path = facts["uri"].removeprefix("sqlite:///")
        before = schema_of(path)
        subprocess.run(
            [sys.executable, "-m", "mlflow", "db", "upgrade", facts["uri"]], check=True, timeout=600
        )
        self.assertEqual(schema_of(path), before)
        self.check_runs(facts, client)

        experiment = mlflow.set_experiment("written by MLflow")
        client.set_experiment_tag(experiment.experiment_id, "team", "mlflow")
        data = mlflow.data.from_numpy(np.zeros((3, 2), np.float32), name="zeros")
        with mlflow.start_run(run_name="python", tags={"k": "v"}) as run:
            for step in range(20):
                mlflow.log_metric("loss", 1 / (step + 1), step=step)
            mlflow.log_metric("nan", math.nan, step=2)
            mlflow.log_params({"rate": 0.5})
            mlflow.log_input(data, context="evaluation", tags={"x": "y"})
            info = mlflow.onnx.log_model(self.model, name="net", registered_model_name="python-net",
                                         pip_requirements=["onnx"])
        client.set_registered_model_alias("python-net", "best", 1)
        client.set_model_version_tag("python-net", 1, "stage", "done")
        history = client.get_metric_history(run.info.run_id, "loss")

        seen = program("read", path, "written by MLflow")
        self.assertEqual(seen["experiment"]["tags"], {"team": "mlflow"})
        (one,) = seen["runs"]
        self.assertEqual((one["id"], one["name"], one["status"]), (run.info.run_id, "python", "FINISHED"))
        self.assertEqual(one["params"], {"rate": "0.5"})
        self.assertEqual(one["tags"]["k"], "v")
        self.assertEqual(one["metrics"]["nan"]["value"], "NaN")
        self.assertEqual(
            [(m["step"], m["value"], m["timestamp"]) for m in one["history"]["loss"]],
            [(m.step, m.value, m.timestamp) for m in history],
        )
        self.assertEqual(one["metrics"]["loss"]["step"], 19)
        (used,) = one["inputs"]
        self.assertEqual((used["name"], used["digest"]), ("zeros", data.digest))
        self.assertEqual(used["tags"], {"mlflow.data.context": "evaluation", "x": "y"})
        self.assertEqual([m["id"] for m in one["models"]], [info.model_id])
        registered = seen["registered"]["python-net"]
        self.assertEqual(registered["aliases"], {"best": 1})
        (version,) = registered["versions"]
        self.assertEqual(version["source"], f"models:/{info.model_id}")
        self.assertEqual(version["tags"], {"stage": "done"})
        self.assertTrue((pathlib.Path(version["location"]) / "MLmodel").is_file())

    def test_cpp_opens_a_store_that_mlflow_made(self):
        path = self.folder / "python.db"
        mlflow.set_tracking_uri(f"sqlite:///{path}")
        mlflow.set_registry_uri(f"sqlite:///{path}")
        MlflowClient().create_experiment("made by MLflow")
        made_by_mlflow = schema_of(path)
        self.assertEqual(program("read", path, "made by MLflow")["experiment"]["id"], "1")
        facts = program("write", path, self.onnx)
        self.check_runs(facts, MlflowClient())
        self.check_models(facts, MlflowClient())
        # The schema that Mizzen makes is MLflow's, statement by statement.
        self.written()
        self.assertEqual(schema_of(self.folder / "store" / "mlflow.db"), made_by_mlflow)


if __name__ == "__main__":
    unittest.main(verbosity=2)
