"""Stores pushed to MLflow's server and pulled back, cut off on the way: transfer_test.py TRANSFER_PROGRAM

One server for all tests; it takes from seconds to more than a minute to start. A proxy before it loses
answers and delivers requests twice."""
import collections
import http.client
import http.server
import json
import math
import os
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.parse

from mlflow_server import start_server

PROGRAM = os.path.abspath(sys.argv.pop(1))

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
for proxy in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
    os.environ.pop(proxy, None)
os.environ["MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR"] = "0"
os.environ["MLFLOW_HTTP_REQUEST_BACKOFF_JITTER"] = "0"
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus, Metric, Param, ViewType

# What the server makes something new with.
MAKING = ("runs/create", "/logged-models", "model-versions/create")


class Proxy(http.server.ThreadingHTTPServer):
    """Before a server: in the mode "lost" it cuts the connection instead of giving the answer to every
    second request that makes something, in the mode "twice" it delivers each of those twice."""

    def __init__(self, url, mode):
        self.to = urllib.parse.urlsplit(url).netloc
        self.mode = mode
        self.made = collections.Counter()
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class ProxyHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        making = self.command == "POST" and self.path.split("?")[0].endswith(MAKING)
        with self.server.lock:
            self.server.made["requests"] += making
            lost = making and self.server.mode == "lost" and self.server.made["requests"] % 2 == 1
        for _ in range(2 if making and self.server.mode == "twice" else 1):
            to = http.client.HTTPConnection(self.server.to, timeout=120)
            to.request(self.command, self.path, body,
                       {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")})
            answer = to.getresponse()
            said = answer.read()
            to.close()
        if lost:
            self.server.made["lost"] += 1
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward


class TransferTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name).resolve()
        cls.uri = start_server(cls.folder, f"sqlite:///{cls.folder}/mlflow.db", cls.addClassCleanup,
                               "--artifacts-destination", str(cls.folder / "artifacts"))
        cls.client = MlflowClient(cls.uri)

    def cpp(self, *args, ends=0):
        done = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=300,
                              cwd=self.folder)
        self.assertEqual(done.returncode, ends, done.stderr)
        return json.loads(done.stdout) if ends == 0 else done.stderr

    def transfer(self, *args):
        report = self.cpp("transfer", *args)
        self.assertEqual(report["problems"], [])
        return report

    def fill(self, name):
        """A store with one of everything, in an experiment and registered models of its own names."""
        db = self.folder / name / "mlflow.db"
        facts = self.cpp("fill", db)
        with sqlite3.connect(db) as store:
            store.execute("PRAGMA foreign_keys = ON")  # before the first change; versions follow their models
            store.execute("UPDATE experiments SET name = ? WHERE name = 'offline'", (name,))
            for old in ("digits", "a copy"):
                store.execute("UPDATE registered_models SET name = ? WHERE name = ?", (f"{name} {old}", old))
            store.execute("UPDATE model_versions SET source = ? WHERE source = 'models:/digits/3'",
                          (f"models:/{name} digits/3",))
        store.close()
        return db, facts

    def check_pushed(self, name, facts):
        """All of it is on the server, once."""
        c = self.client
        e = c.get_experiment_by_name(name)
        self.assertEqual(e.tags["team"], "mizzen")
        runs = c.search_runs([e.experiment_id], run_view_type=ViewType.ACTIVE_ONLY)
        by_name = {r.info.run_name: r for r in runs}
        self.assertEqual(sorted(r.info.run_name for r in runs), ["child", "parent"])
        parent, child = by_name["parent"], by_name["child"]
        self.assertEqual(parent.data.tags["mizzen.run_id"], facts["parent"])
        self.assertEqual(child.data.tags["mizzen.run_id"], facts["child"])
        self.assertEqual(child.data.tags["mlflow.parentRunId"], parent.info.run_id)
        self.assertEqual((parent.info.status, child.info.status), ("FINISHED", "FAILED"))
        self.assertEqual((parent.info.start_time, parent.info.end_time), (facts["start"], facts["end"]))
        self.assertEqual(parent.info.user_id, "robot")
        self.assertEqual(parent.data.tags["kind"], "naïve — ünïcode")
        self.assertEqual(parent.data.params, {f"p{i}": str(i) for i in range(150)})
        history = c.get_metric_history(parent.info.run_id, "loss")
        self.assertEqual([(m.step, m.timestamp, m.value) for m in history],
                         [(i, 1000 + i, 1 / (i + 1)) for i in range(2500)])
        self.assertTrue(math.isnan(c.get_metric_history(parent.info.run_id, "odd/nan")[0].value))
        (used,) = parent.inputs.dataset_inputs
        self.assertEqual((used.dataset.name, [(t.key, t.value) for t in used.tags]),
                         ("set", [("mlflow.data.context", "training")]))
        files = {a.path: a.file_size for a in c.list_artifacts(parent.info.run_id)}
        self.assertEqual(files, {"big.bin": 300_000, "notes": None})
        text = pathlib.Path(c.download_artifacts(parent.info.run_id, "notes/hello wörld.txt")).read_text()
        self.assertEqual(text, "hello")

        (model,) = c.search_logged_models([e.experiment_id])
        self.assertEqual((model.name, model.status, model.source_run_id),
                         ("net", LoggedModelStatus.READY, parent.info.run_id))
        self.assertEqual(model.tags["mizzen.model_id"], facts["model"])
        self.assertEqual((model.tags["t"], model.params["depth"], len(model.params)), ("v", "3", 151))
        self.assertEqual(sorted(m.key for m in model.metrics), ["loss", "odd/inf"])
        self.assertEqual([o.model_id for o in parent.outputs.model_outputs], [model.model_id])

        registered = c.get_registered_model(f"{name} digits")
        self.assertEqual((registered.description, registered.tags), ("words", {"task": "x"}))
        self.assertEqual({k: int(v) for k, v in registered.aliases.items()}, {"champion": 3})
        versions = {int(v.version): v for v in c.search_model_versions(f"name = '{name} digits'")}
        self.assertEqual(sorted(versions), [1, 3])
        self.assertEqual((versions[1].source, versions[1].run_id), (f"models:/{model.model_id}", parent.info.run_id))
        self.assertEqual((versions[1].description, versions[1].tags["q"]), ("first", "1"))
        self.assertEqual(versions[3].source, f"{parent.info.artifact_uri}/notes")
        (copy,) = c.search_model_versions(f"name = '{name} a copy'")
        self.assertEqual((int(copy.version), copy.source), (1, f"models:/{name} digits/3"))
        return parent, child, model

    def test_a_push_that_is_killed_is_made_good(self):
        db, facts = self.fill("killed")
        for steps in (1, 2, 3, 5):
            self.cpp("transfer", db, self.uri, steps, ends=-9)
        report = self.transfer(db, self.uri)
        self.assertEqual((report["experiments"], report["runs"], report["models"], report["versions"]), (2, 2, 1, 3))
        self.assertEqual(report["unchanged"], 2)  # the last kill came after the runs
        parent, child, model = self.check_pushed("killed", facts)
        # Once more changes nothing.
        again = self.transfer(db, self.uri)
        self.assertEqual((again["unchanged"], again["points"]), (2, 0))
        self.check_pushed("killed", facts)
        where = self.client.download_artifacts(parent.info.run_id, "notes")
        self.assertTrue(os.path.isdir(where))

        # The files of the model name the model and the run that are there.
        text = next((self.folder / "artifacts").glob(f"*/models/{model.model_id}/artifacts/MLmodel")).read_text()
        self.assertIn(f"model_id: {model.model_id}", text)
        self.assertIn(f'run_id: "{parent.info.run_id}"', text)
        self.assertNotIn(facts["model"], text)

        # Read by the ids that they had.
        seen = self.cpp("show", self.uri, facts["parent"], facts["child"], facts["model"])
        self.assertEqual(seen[facts["parent"]]["id"], parent.info.run_id)
        self.assertEqual(len(seen[facts["parent"]]["points"]["loss"]), 2500)
        self.assertEqual(seen[facts["parent"]]["files"], {"big.bin": 300_000, "notes/hello wörld.txt": 5})
        self.assertEqual(seen[facts["child"]]["status"], "FAILED")
        self.assertEqual(seen[facts["model"]]["id"], model.model_id)

        # What is logged later is brought by the next push.
        with sqlite3.connect(db) as store:
            for table in ("metrics", "latest_metrics"):
                store.execute(f"INSERT INTO {table} (key, value, timestamp, step, is_nan, run_uuid) "
                              "VALUES ('late', 1, 5, 7, 0, ?)", (facts["child"],))
        store.close()
        self.assertEqual(self.transfer(db, self.uri)["unchanged"], 1)
        self.assertEqual(self.client.get_run(child.info.run_id).data.metrics["late"], 1)

        # And back, into a new store: under the ids that they had.
        pulled = self.folder / "pulled/mlflow.db"
        self.transfer(self.uri, pulled)
        ids = [facts["parent"], facts["child"], facts["model"]]
        there, here = self.cpp("show", pulled, *ids), self.cpp("show", db, *ids)
        self.assertEqual(there, here)
        with sqlite3.connect(pulled) as store:
            named = "SELECT version, description FROM model_versions WHERE name = 'killed digits' ORDER BY version"
            self.assertEqual(store.execute(named).fetchall(), [(1, "first"), (3, None)])
        store.close()
        # Which the server knows.
        runs = len(self.client.search_runs([self.client.get_experiment_by_name("killed").experiment_id]))
        self.transfer(pulled, self.uri)
        self.check_and_count("killed", runs)

    def check_and_count(self, name, runs):
        e = self.client.get_experiment_by_name(name)
        self.assertEqual(len(self.client.search_runs([e.experiment_id])), runs)
        self.assertEqual(len(self.client.search_logged_models([e.experiment_id])), 1)

    def test_answers_that_are_lost(self):
        db, facts = self.fill("lost")
        proxy = Proxy(self.uri, "lost")
        self.addCleanup(proxy.server_close)
        self.addCleanup(proxy.shutdown)
        for _ in range(20):
            done = subprocess.run([PROGRAM, "transfer", str(db), proxy.url], capture_output=True, text=True,
                                  timeout=300, cwd=self.folder)
            if done.returncode == 0:
                break
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreaterEqual(proxy.made["lost"], 3)
        self.check_pushed("lost", facts)

    def test_requests_that_are_delivered_twice(self):
        db, facts = self.fill("twice")
        proxy = Proxy(self.uri, "twice")
        self.addCleanup(proxy.server_close)
        self.addCleanup(proxy.shutdown)
        self.cpp("transfer", db, proxy.url)
        self.transfer(db, self.uri)
        self.check_pushed("twice", facts)

    def test_what_python_wrote_is_pulled_and_pushed_back(self):
        c = self.client
        e = c.create_experiment("snakes", tags={"a": "b"})
        run = c.create_run(e, run_name="slow", tags={"kind": "ünï"}).info.run_id
        nested = c.create_run(e, run_name="nested", tags={"mlflow.parentRunId": run}).info.run_id
        c.log_batch(run, metrics=[Metric("loss", i, 1000 + i, i) for i in range(30)], params=[Param("rate", "0.1")])
        c.log_text(run, "from Python", "a b/ünï.txt")
        model = c.create_logged_model(e, name="m", source_run_id=run, tags={"t": "u"}, params={"p": "q"})
        c.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        c.set_terminated(run)
        c.create_registered_model("snake")
        version = c.create_model_version("snake", f"models:/{model.model_id}", run, model_id=model.model_id)
        c.set_registered_model_alias("snake", "best", version.version)
        there = self.cpp("show", self.uri, run, nested, model.model_id)

        db = self.folder / "snakes/mlflow.db"
        for _ in range(2):
            self.transfer(self.uri, db)
            self.assertEqual(self.cpp("show", db, run, nested, model.model_id), there)
        # MLflow itself reads the store.
        mine = MlflowClient(f"sqlite:///{db}")
        self.assertEqual(mine.get_run(nested).data.tags["mlflow.parentRunId"], run)
        self.assertEqual(pathlib.Path(mine.download_artifacts(run, "a b/ünï.txt")).read_text(), "from Python")
        self.assertEqual(mine.get_logged_model(model.model_id).params, {"p": "q"})
        self.assertEqual(mine.get_model_version_by_alias("snake", "best").source, f"models:/{model.model_id}")
        # Back to where it came from: nothing new there.
        mine.set_tag(run, "seen", "offline")
        self.transfer(db, self.uri)
        self.assertEqual(c.get_run(run).data.tags["seen"], "offline")
        self.assertEqual(len(c.search_runs([e])), 2)
        self.assertEqual(len(c.search_logged_models([e])), 1)
        self.assertEqual(len(c.search_model_versions("name = 'snake'")), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
