"""A file store that MLflow has written, imported: MLflow reads the same from both. import_files_test.py TRANSFER_PROGRAM"""
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.path.abspath(sys.argv.pop(1))

os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
import mlflow
from mlflow import MlflowClient
from mlflow.entities import (Dataset, DatasetInput, InputTag, LoggedModelInput, LoggedModelOutput, LoggedModelStatus,
                             Metric, Param)

WORDS = "it's \"quoted\": # no comment, – " + "long " * 60 + "\n\n second line\t☃ "


def write(root: pathlib.Path) -> MlflowClient:
    mlflow.set_tracking_uri(f"file://{root}")
    c = MlflowClient(f"file://{root}")
    e = c.create_experiment("old: ünï #x", tags={"team": "a/b", "multi": "line1\nline2"})
    run = c.create_run(e, run_name="n: " + "run " * 50, tags={"mlflow.user": "me", "a/b": "v", "empty": ""}).info.run_id
    c.log_batch(run, metrics=[Metric("loss", 1 / (i + 1), 1000 + i, i) for i in range(300)]
                + [Metric("a/nan", math.nan, 5, 0), Metric("a/inf", math.inf, 5, -3), Metric("small", 1e-300, 5, 0)],
                params=[Param("p/q", "x\ny"), Param("empty", "")])
    schema = json.dumps({"mlflow_colspec": [{"type": "double", "name": f"column {i}: it's"} for i in range(50)]})
    c.log_inputs(run, [DatasetInput(Dataset("iris set", "d1", "local", '{"uri": "/x"}', schema=schema),
                                    [InputTag("mlflow.data.context", "test"), InputTag("k" * 200, "yes")])])
    model = c.create_logged_model(e, name="m", source_run_id=run, tags={"t": "u"}, params={"p": "q"},
                                  model_type="agent")
    c.log_outputs(run, [LoggedModelOutput(model.model_id, 7)])
    c.log_metric(run, "acc", 0.5, timestamp=9, step=2, model_id=model.model_id, dataset_name="iris",
                 dataset_digest="d1")
    pathlib.Path(model.artifact_location.removeprefix("file://")).mkdir(parents=True)
    pathlib.Path(model.artifact_location.removeprefix("file://"), "MLmodel").write_text(
        f"model_id: {model.model_id}\nartifact_path: {model.artifact_location}\n")
    c.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    child = c.create_run(e, run_name="child", tags={"mlflow.parentRunId": run}).info.run_id
    c.log_inputs(child, models=[LoggedModelInput(model.model_id)])
    c.set_terminated(child, "FAILED")
    c.log_text(run, "hi", "n/hi.txt")
    c.set_terminated(run)
    gone = c.create_run(e, run_name="gone").info.run_id
    c.delete_run(gone)
    c.delete_experiment(c.create_experiment("gone"))
    c.create_registered_model("reg", tags={"a": "b"}, description=WORDS)
    version = c.create_model_version("reg", f"models:/{model.model_id}", run, tags={"v": "1"},
                                     model_id=model.model_id, description="yes")
    c.create_model_version("reg", c.get_run(run).info.artifact_uri + "/n", run)
    c.set_registered_model_alias("reg", "best", version.version)
    return c


def describe(c: MlflowClient) -> dict:
    """What a client tells of a store, but for where its files are."""
    out = {}
    number = lambda v: "nan" if math.isnan(v) else max(-sys.float_info.max, min(v, sys.float_info.max))
    for e in c.search_experiments():
        if e.name == "Default":
            continue
        runs = {}
        for r in c.search_runs([e.experiment_id]):
            info = r.info
            keys = sorted(r.data.metrics)
            runs[info.run_id] = {
                "info": (info.run_name, info.user_id, info.status, info.start_time, info.end_time),
                "params": r.data.params, "tags": r.data.tags,
                # The five-word lines of a file store lose their step when MLflow reads them.
                "points": {k: sorted((m.step if k != "acc" else 2, m.timestamp, str(number(m.value)))
                                     for m in c.get_metric_history(info.run_id, k)) for k in keys},
                "inputs": [(d.dataset.name, d.dataset.digest, d.dataset.source_type, d.dataset.source,
                            d.dataset.schema, d.dataset.profile, sorted((t.key, t.value) for t in d.tags))
                           for d in r.inputs.dataset_inputs],
                # A search leaves these out.
                "read": [m.model_id for m in c.get_run(info.run_id).inputs.model_inputs],
                "made": [(m.model_id, m.step) for m in r.outputs.model_outputs],
                "files": [(a.path, a.is_dir) for a in c.list_artifacts(info.run_id)],
            }
        models = {m.model_id: (m.name, str(m.status), m.source_run_id, m.creation_timestamp, m.model_type, m.tags,
                               m.params, [(x.key, x.value, x.step, x.timestamp, x.dataset_name, x.dataset_digest)
                                          for x in m.metrics])
                  for m in c.search_logged_models([e.experiment_id])}
        out[e.name] = (e.experiment_id, e.creation_time, {k: v for k, v in e.tags.items()}, runs, models)
    for m in c.search_registered_models():
        out[f"registered {m.name}"] = (m.description, m.tags, {k: int(v) for k, v in m.aliases.items()},
                                       m.creation_timestamp)
        for v in c.search_model_versions(f"name = '{m.name}'"):
            out[f"version {v.name} {v.version}"] = (v.run_id, v.description, v.tags, v.creation_timestamp, v.status,
                                                    v.current_stage)
    return out


class ImportTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name).resolve()

    def bring(self, root, db):
        done = subprocess.run([PROGRAM, "import-files", str(root), str(db)], capture_output=True, text=True,
                              timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_all_of_it(self):
        root, db = self.folder / "mlruns", self.folder / "store/mlflow.db"
        wrote = describe(write(root))
        for _ in range(2):
            report = self.bring(root, db)
            self.assertEqual(report["problems"], [])
            self.assertEqual((report["experiments"], report["runs"], report["models"], report["versions"]),
                             (2, 2, 1, 2))
            self.assertEqual(describe(MlflowClient(f"sqlite:///{db}")), wrote)
        c = MlflowClient(f"sqlite:///{db}")
        (model,) = c.search_logged_models([c.get_experiment_by_name("old: ünï #x").experiment_id])
        self.assertIn(str(db.parent), model.artifact_location)
        self.assertIn(model.artifact_location, pathlib.Path(model.artifact_location, "MLmodel").read_text())
        self.assertEqual(c.get_model_version("reg", 1).source, f"models:/{model.model_id}")
        second = c.get_model_version("reg", 2).source
        self.assertTrue(second.startswith(str(db.parent)), second)
        self.assertEqual(pathlib.Path(second, "hi.txt").read_text(), "hi")

        # A store that was moved, whose meta.yaml files name places that are gone.
        moved = self.folder / "elsewhere/mlruns"
        moved.parent.mkdir()
        shutil.move(root, moved)
        report = self.bring(moved, self.folder / "again/mlflow.db")
        self.assertEqual(report["problems"], [])
        self.assertEqual(describe(MlflowClient(f"sqlite:///{self.folder}/again/mlflow.db")), wrote)

        # Damaged: each is told, and the rest brought.
        run = next(p for p in moved.glob("*/*/metrics/loss") if "models" not in str(p)).parent.parent
        with open(run / "metrics/loss", "a") as file:
            file.write("12 what 3\n999 0.125 77")  # the last without its end
        child = next(p for p in moved.glob("*/*/tags/mlflow.parentRunId")).parent.parent
        (child / "meta.yaml").write_text("run_id: &anchor x\n")
        report = self.bring(moved, self.folder / "third/mlflow.db")
        self.assertEqual(report["runs"], 1)
        self.assertEqual(len(report["problems"]), 2, report["problems"])
        here = MlflowClient(f"sqlite:///{self.folder}/third/mlflow.db")
        self.assertEqual(len(here.get_metric_history(run.name, "loss")), 301)


if __name__ == "__main__":
    unittest.main(verbosity=2)
