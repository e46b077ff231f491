"""Figures, documents and tables, judged by those who read them: extras_test.py EXTRAS_PROGRAM"""
import io
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree as ElementTree

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
PROGRAM = os.path.abspath(sys.argv.pop(1))

import mlflow
import numpy as np
import psutil
import yaml
from mlflow import MlflowClient
from PIL import Image
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)


def program(*arguments, **options):
    done = subprocess.run(
        [PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=600, **options
    )
    if done.returncode != 0:
        raise AssertionError(f"{arguments} gave {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


class FolderTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name).resolve()


class FigureTest(FolderTest):
    def drawn(self):
        wine = load_wine()
        # Two features only: a classifier that errs.
        model = LogisticRegression(max_iter=1000).fit(wine.data[:, :2], wine.target)
        scores = model.predict_proba(wine.data[:, :2])
        random = np.random.default_rng(7)
        binary = random.integers(0, 2, 500)
        # Rounded: many scores are equal, which is where curves go wrong.
        binary_scores = np.round(binary * 0.4 + random.normal(size=500), 1)
        values = np.concatenate([random.normal(size=4000), random.normal(4, 0.5, 1000)])
        data = {
            "actual": wine.target.tolist(),
            "scores": scores.ravel().tolist(),
            "labels": [str(name) for name in wine.target_names],
            "binary": binary.tolist(),
            "binary_scores": binary_scores.tolist(),
            "values": values.tolist(),
        }
        (self.folder / "data.json").write_text(json.dumps(data))
        return wine.target, scores, binary, binary_scores, values

    def test_figures(self):
        target, scores, binary, binary_scores, values = self.drawn()
        got = program("figures", self.folder / "data.json", self.folder)

        self.assertAlmostEqual(got["auc"], roc_auc_score(binary, binary_scores), places=12)
        self.assertAlmostEqual(
            got["average_precision"], average_precision_score(binary, binary_scores), places=12
        )
        false_rate, true_rate, _ = roc_curve(binary, binary_scores, drop_intermediate=False)
        np.testing.assert_allclose(got["false_positive_rate"], false_rate, atol=1e-12)
        np.testing.assert_allclose(got["true_positive_rate"], true_rate, atol=1e-12)
        precision, recall, _ = precision_recall_curve(binary, binary_scores)
        np.testing.assert_allclose(got["precision"], precision[::-1], atol=1e-12)
        np.testing.assert_allclose(got["recall"], recall[::-1], atol=1e-12)
        for i in range(3):
            self.assertAlmostEqual(got["aucs"][i], roc_auc_score(target == i, scores[:, i]), places=12)
            self.assertAlmostEqual(
                got["average_precisions"][i],
                average_precision_score(target == i, scores[:, i]),
                places=12,
            )
        counts, edges = np.histogram(values, bins=23)
        self.assertEqual(got["histogram"]["counts"], counts.tolist())
        np.testing.assert_allclose(got["histogram"]["edges"], edges, atol=1e-12)

        names = {p.stem for p in self.folder.glob("*.png")}
        self.assertEqual(
            names,
            {"roc_one", "precision_recall_one", "roc", "precision_recall", "confusion", "histogram", "loss"},
        )
        for name in names:
            with self.subTest(name=name):
                self.check_files(name)
        if folder := os.environ.get("MIZZEN_KEEP_FIGURES"):
            subprocess.run(["cp", "-r", f"{self.folder}/.", folder], check=True)

    def check_files(self, name):
        root = ElementTree.parse(self.folder / f"{name}.svg").getroot()
        self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
        for item in root.iter():
            for key in ("points", "x", "y", "width", "height"):
                for number in item.get(key, "0").replace(",", " ").split():
                    self.assertTrue(number.endswith("%") or np.isfinite(float(number)), (name, number))
        texts = {item.text for item in root.iter("{http://www.w3.org/2000/svg}text")}
        if name == "roc":
            self.assertIn('ROC, "<wine>" & more', texts)
        if name == "loss":
            self.assertLessEqual({"0.01", "0.1", "1", "training", "validation — naïve"}, texts)

        picture = Image.open(self.folder / f"{name}.png")
        picture.load()
        self.assertEqual((picture.format, picture.mode), ("PNG", "RGB"))
        self.assertEqual(picture.width, int(np.ceil(float(root.get("width")) * 2)))
        self.assertEqual(picture.height, int(np.ceil(float(root.get("height")) * 2)))
        pixels = np.asarray(picture)
        # On white, and something is there: ink of the texts, and a colour of the palette.
        self.assertEqual(pixels[0, 0].tolist(), [255, 255, 255])
        colours = {tuple(c) for c in pixels.reshape(-1, 3)[::3].tolist()}
        self.assertGreater(len(colours), 20)
        if name != "confusion":
            self.assertIn((0, 114, 178), colours)


class DocumentTest(FolderTest):
    def test_documents(self):
        facts = program("documents", self.folder / "mlflow.db")
        mlflow.set_tracking_uri(facts["uri"])
        client = MlflowClient()
        run_id = facts["run_id"]
        artifacts = pathlib.Path(client.get_run(run_id).info.artifact_uri)
        for name in ("a.yaml", "a.json"):
            loaded = mlflow.artifacts.load_dict(f"runs:/{run_id}/config/{name}") if name == "a.json" \
                else yaml.safe_load((artifacts / "config" / name).read_text())
            self.assertEqual(loaded, facts["value"], name)
        self.assertEqual(yaml.safe_load((artifacts / "config/empty.yml").read_text()), [])
        self.assertEqual(yaml.safe_load((artifacts / "config/text.yml").read_text()), "true")

        table = client.load_table(facts["experiment_id"], "tables/eval.json", [run_id], ["run_id"])
        self.assertEqual(table.columns.tolist(), ["input", "score", "passed", "run_id"])
        self.assertEqual(table["input"].tolist(), ["What is it?", "näive", "third"])
        self.assertEqual(table["score"].tolist()[:2], [0.5, 1.0])
        self.assertTrue(np.isnan(table["score"][2]))
        self.assertEqual(table["passed"].isna().tolist(), [True, True, False])
        self.assertEqual(table["run_id"].tolist(), [run_id] * 3)
        # Each adds to what the other wrote.
        client.log_table(run_id, {"input": ["fourth"], "score": [4]}, "tables/eval.json")
        client.log_table(run_id, {"x": [1, 2]}, "python.json")
        self.assertEqual(program("more", facts["uri"], run_id), {"done": True})
        table = client.load_table(facts["experiment_id"], "tables/eval.json")
        self.assertEqual(table["input"].tolist(), ["What is it?", "näive", "third", "fourth", "fifth"])
        self.assertEqual(client.load_table(facts["experiment_id"], "python.json")["x"].tolist(), [1, 2, 3])
        self.assertEqual(
            json.loads(client.get_run(run_id).data.tags["mlflow.loggedArtifacts"]),
            [{"path": "tables/eval.json", "type": "table"}, {"path": "python.json", "type": "table"}],
        )

        image = mlflow.artifacts.load_image(f"runs:/{run_id}/plots/line.png")
        self.assertEqual(image.size, (1280, 840))
        ElementTree.fromstring(mlflow.artifacts.load_text(f"runs:/{run_id}/plots/line.svg"))


class FactsTest(FolderTest):
    @unittest.skipUnless(shutil.which("git"), "git is not installed")
    def test_facts(self):
        run = lambda *arguments, cwd, env={}: subprocess.run(
            arguments, cwd=cwd, check=True, capture_output=True, text=True,
            env=os.environ | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
                              "PASSWORD_FILE": "x", "RANK": "3", **env}).stdout
        source = self.folder / "source"
        source.mkdir()
        git = lambda *arguments: run("git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments, cwd=source)
        git("init", "-q", "-b", "main")
        (source / "train.py").write_text("1")
        git("add", ".")
        git("commit", "-qm", "one")
        git("remote", "add", "origin", "https://me:secret@host/x.git")
        # Not the program of the build folder, which may be in a repository of its own.
        program = self.folder / "trainer"
        program.write_bytes(pathlib.Path(PROGRAM).read_bytes())
        program.chmod(0o755)
        facts = json.loads(run(str(program), "facts", str(self.folder / "mlflow.db"), "--rate", "0.1 2",
                               "--api-token", "hush1", "DB_PASSWORD=hush2",
                               "https://me:hush3@host/", cwd=source))
        mlflow.set_tracking_uri(facts["uri"])
        tags = MlflowClient().get_run(facts["run_id"]).data.tags
        # What MLflow itself finds out there.
        from mlflow.utils.git_utils import get_git_branch, get_git_commit, get_git_repo_url
        main = str(source / "train.py")
        self.assertEqual(tags["mlflow.source.git.commit"], get_git_commit(main))
        self.assertEqual(tags["mlflow.source.git.branch"], get_git_branch(main))
        self.assertEqual(tags["mlflow.source.git.repoURL"], get_git_repo_url(main))
        self.assertEqual(tags["mlflow.source.git.dirty"], "false")
        self.assertEqual(tags["mlflow.source.name"], str(program))
        self.assertEqual(tags["mizzen.working_directory"], str(source))
        self.assertEqual(tags["mizzen.env.RANK"], "3")
        self.assertEqual(tags["mizzen.host"], os.uname().nodename)
        self.assertEqual(int(tags["mizzen.cpu.count"]), len(os.sched_getaffinity(0)))
        self.assertEqual(int(tags["mizzen.memory.total_bytes"]), psutil.virtual_memory().total)
        self.assertIn("--rate '0.1 2' --api-token *** DB_PASSWORD=*** https://host/",
                      tags["mizzen.command_line"])
        self.assertFalse([v for v in tags.values() if "hush" in v or "secret" in v])
        (source / "train.py").write_text("2")
        facts = json.loads(run(str(program), "facts", str(self.folder / "mlflow.db"), cwd=source))
        tags = MlflowClient().get_run(facts["run_id"]).data.tags
        self.assertEqual(tags["mlflow.source.git.dirty"], "true")


class SystemMetricsTest(FolderTest):
    def test_the_same_as_mlflow(self):
        """MLflow's monitor and ours, side by side: the same names, the same units."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        database = self.folder / "mlflow.db"
        environment = {"MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "0.25",
                       "MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING": "2"}
        ours = subprocess.Popen([PROGRAM, "system", str(database)], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True, env=os.environ | environment)
        self.addCleanup(ours.wait)
        self.addCleanup(ours.kill)
        mlflow.set_tracking_uri(f"sqlite:///{self.folder / 'python.db'}")
        client = MlflowClient()
        theirs = client.create_run("0").info.run_id
        for key, value in environment.items():
            os.environ[key] = value
            self.addCleanup(os.environ.pop, key)
        monitor = SystemMetricsMonitor(theirs)
        monitor.start()
        deadline = time.monotonic() + 60
        while len(client.get_metric_history(theirs, "system/disk_usage_percentage")) < 2:
            self.assertLess(time.monotonic(), deadline)
            # Something for the counters to count.
            with socket.create_server(("127.0.0.1", 0)) as server, \
                    socket.create_connection(server.getsockname()) as sender:
                receiver, _ = server.accept()
                with receiver:
                    sender.sendall(bytes(100_000))
                    received = 0
                    while received < 100_000:
                        received += len(receiver.recv(65536))
            time.sleep(0.05)
        monitor.finish()
        facts = json.loads(ours.communicate("", timeout=60)[0])
        self.assertEqual(ours.returncode, 0)

        wanted = client.get_run(theirs).data.metrics
        client = MlflowClient(facts["uri"])
        got = client.get_run(facts["run_id"]).data.metrics
        # MLflow reads GPUs only where nvidia-ml-py is installed too.
        plain = lambda keys: {key for key in keys if not key.startswith("system/gpu_")}
        self.assertEqual(plain(got), plain(wanted))
        wanted = {key: value for key, value in wanted.items() if key in got}
        for key in wanted:
            history = client.get_metric_history(facts["run_id"], key)
            self.assertEqual([m.step for m in history], list(range(len(history))), key)
        # The machine is busy with other things too: near is enough to tell units apart.
        for key in ("system_memory_usage_megabytes", "system_memory_usage_percentage",
                    "disk_usage_megabytes", "disk_usage_percentage", "disk_available_megabytes"):
            key = "system/" + key
            self.assertLess(abs(got[key] - wanted[key]), 0.3 * max(got[key], wanted[key]) + 1, key)
        self.assertLessEqual(got["system/cpu_utilization_percentage"], 100)
        self.assertGreaterEqual(got["system/cpu_utilization_percentage"], 0)
        for key in ("system/network_receive_megabytes", "system/network_transmit_megabytes"):
            self.assertGreater(got[key], 0.1, key)
            self.assertLess(got[key], 1e5, key)


if __name__ == "__main__":
    unittest.main(verbosity=2)
