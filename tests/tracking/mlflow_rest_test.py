"""C++ and Python on one tracking server, each reading what the other wrote:
mlflow_rest_test.py REST_PROGRAM SURFACE_PROGRAM

One server for all tests; it takes from seconds to more
than a minute to start."""
import http.server
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.parse
import urllib.request

from mlflow_server import start_server

PROGRAM = os.path.abspath(sys.argv.pop(1))
SURFACE = os.path.abspath(sys.argv.pop(1))

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
for proxy in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
    os.environ.pop(proxy, None)
os.environ["MLFLOW_ENABLE_ASYNC_TRACE_LOGGING"] = "false"
os.environ["MLFLOW_WEBHOOK_ALLOWED_SCHEMES"] = "http,https"  # of the server, whose environment this becomes
os.environ["MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS"] = "true"
import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, RunTag
from mlflow.entities import SpanEvent
from mlflow.entities.webhook import WebhookEvent


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


    # --- traces, webhooks, histories, logged models: on the server, and on its store ----------------

    def on(self, uri, *args):
        done = subprocess.run(
            [SURFACE, args[0], uri, *map(str, args[1:])], capture_output=True, text=True, timeout=300, cwd=self.folder
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    @property
    def both(self):
        return {"server": self.uri, "store": f"sqlite:///{self.folder}/mlflow.db"}

    def test_python_reads_traces_of_cpp(self):
        for where, uri in self.both.items():
            with self.subTest(where):
                facts = self.on(uri, "trace", where + " ")
                trace = self.client.get_trace(facts["answer"])
                info = trace.info
                self.assertEqual(info.state.value, "OK")
                self.assertEqual(info.experiment_id, facts["experiment"])
                self.assertEqual(info.client_request_id, where + " r7")
                self.assertEqual(info.tags["mlflow.traceName"], "answer")
                self.assertEqual(info.tags["team"], "mizzen — ünï")
                self.assertEqual(info.trace_metadata["quoted"], 'it\'s a "value"')
                self.assertEqual(info.trace_metadata["mlflow.sourceRun"], facts["run"])
                self.assertEqual(info.trace_metadata["mlflow.trace.session"], where + " session")
                self.assertEqual(info.trace_metadata["mlflow.trace.user"], "ann")
                self.assertEqual(json.loads(info.request_preview), {"question": "wie spät?", "n": 3})
                self.assertEqual(json.loads(info.response_preview), {"answer": "late"})
                root, search, model = trace.data.spans
                self.assertEqual((root.name, root.span_type, root.parent_id), ("answer", "CHAIN", None))
                self.assertEqual(root.inputs, {"question": "wie spät?", "n": 3})
                self.assertEqual(root.outputs, {"answer": "late"})
                self.assertEqual((search.parent_id, search.span_type), (root.span_id, "RETRIEVER"))
                self.assertEqual((search.inputs, search.outputs), ("wie spät?", ["a", "b"]))
                self.assertEqual(
                    search.attributes["all"], {"a": [1, -2, 0.5, "x", None, True], "o": {"k": "v"}}
                )
                self.assertEqual(search.attributes["large"], 9_007_199_254_740_993)
                (event,) = search.events
                self.assertEqual((event.name, event.attributes), ("hit", {"score": 0.5, "name": "x"}))
                (link,) = search.links
                self.assertEqual(link.trace_id, "tr-0123456789abcdef0123456789abcdef")
                self.assertEqual(link.span_id, "0123456789abcdef")
                self.assertEqual((model.parent_id, model.status.status_code), (search.span_id, "ERROR"))
                self.assertEqual(model.status.description, "too long")
                self.assertEqual(info.token_usage, {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7})
                self.assertLessEqual(root.start_time_ns, search.start_time_ns)
                self.assertEqual(info.request_time, root.start_time_ns // 1_000_000)

                given = self.client.get_trace(facts["given"])
                self.assertEqual(len(given.data.spans), 1)
                self.assertEqual(given.info.state.value, "ERROR")
                self.assertEqual((given.info.request_time, given.info.execution_duration), (1_700_000_000_000, 1500))
                found = self.client.search_traces(
                    locations=[facts["experiment"]], filter_string=f"run_id = '{facts['run']}'"
                )
                self.assertEqual([t.info.trace_id for t in found], [facts["answer"]])

                tags = self.on(uri, "tag", facts["given"])
                self.assertEqual(tags | {"mlflow.traceName": "given"}, self.client.get_trace(facts["given"]).info.tags)
                self.assertEqual(tags["k ü"], "v")
                self.assertNotIn("gone", tags)
                self.assertEqual(self.on(uri, "delete", facts["experiment"], facts["given"], "tr-" + "a" * 32), 1)
                with self.assertRaises(MlflowException):
                    self.client.get_trace(facts["given"])

    def test_cpp_reads_traces_of_python(self):
        mlflow.set_tracking_uri(self.uri)
        experiment = mlflow.set_experiment("traced by Python").experiment_id
        with mlflow.start_span("outer", span_type="AGENT", attributes={"k": [1, None, {"a": 0.5}]}) as outer:
            mlflow.update_current_trace(tags={"t": "ü"}, metadata={"mlflow.trace.session": "s"})
            outer.set_inputs({"x": 1})
            with mlflow.start_span("inner") as inner:
                inner.add_event(SpanEvent("e", 5, {"a": "b"}))
                inner.set_status("ERROR")
            outer.set_outputs([1, "two"])
        trace = self.client.get_trace(outer.trace_id)
        seen = {where: self.on(uri, "read", outer.trace_id) for where, uri in self.both.items()}
        self.assertEqual(seen["server"], seen["store"])
        info, (root, child) = seen["store"]["info"], seen["store"]["spans"]
        self.assertEqual(info, seen["store"]["alone"])
        self.assertEqual((info["experiment_id"], info["name"], info["state"]), (experiment, "outer", "OK"))
        self.assertEqual(info["request_time"], trace.info.request_time)
        self.assertEqual(info["duration"], trace.info.execution_duration)
        self.assertEqual(info["metadata"], trace.info.trace_metadata)
        self.assertEqual(info["tags"] | {"mlflow.traceName": "outer"}, trace.info.tags)
        self.assertEqual((root["type"], root["inputs"], root["outputs"]), ("AGENT", {"x": 1}, [1, "two"]))
        self.assertEqual(root["attributes"]["k"], [1, None, {"a": 0.5}])
        self.assertEqual(root["start_time"], trace.data.spans[0].start_time_ns)
        self.assertEqual((child["parent_id"], child["status"]), (root["id"], "ERROR"))
        self.assertEqual(child["events"], [["e", 5, {"a": "b"}]])

    def test_searches_of_traces_agree(self):
        mlflow.set_tracking_uri(self.uri)
        experiment = mlflow.set_experiment("searched traces").experiment_id
        ids = []
        for i in range(5):
            with mlflow.start_span(f"trace {i % 3}", span_type="CHAIN") as root:
                tags = {"n": str(i)} if i % 2 else {"Größe": "50%"}
                mlflow.update_current_trace(
                    tags=tags, metadata={"mlflow.trace.session": f"s{i % 2}"} if i else {"k": "v"},
                    client_request_id=f"c{i}",
                )
                root.set_inputs({"q": f"Größe {i}"})
                with mlflow.start_span("tool", span_type="TOOL" if i < 3 else "LLM") as step:
                    step.set_status("ERROR" if i == 1 else "OK")
                if i == 4:
                    root.set_status("ERROR")
            ids.append(root.trace_id)
        began = self.client.get_trace(ids[2]).info.request_time
        queries = [
            [f, []] for f in (
                "", "status = 'OK'", "status != 'OK'", "status IN ('ERROR', 'X')", "trace.status = 'ERROR'",
                f"timestamp >= {began}", f"timestamp_ms < {began} AND execution_time_ms >= 0",
                f"end_time > {began}", "execution_time < 0.5", "name = 'trace 1'", "name LIKE 'trace%'",
                "name ILIKE 'TRACE 2'", "name IS NULL", "tags.`mlflow.traceName` != 'trace 0'", "tags.name = 'trace 0'",
                "tags.n = '1'", "tag.n != '1'", "tags.n IS NULL", "tags.`Größe` IS NOT NULL", "tags.`Größe` = '50%'",
                "metadata.k = 'v'", "request_metadata.k IS NULL", "metadata.`mlflow.trace.session` = 's1'",
                "metadata.`mlflow.trace.session` IS NULL", "run_id = 'x'", "run_id IS NULL", "run_id != 'x'",
                "client_request_id = 'c3'", "client_request_id NOT IN ('c3', 'c1')", f"request_id = '{ids[1]}'",
                "trace.text LIKE '%Größe 3%'", "attributes.text ILIKE '%LLM%'", "span.type = 'LLM'", "span.type = 'TOOL' AND span.status = 'ERROR'",
                "span.name IN ('tool') AND span.status = 'OK'", f"span.type LIKE 'C%' AND timestamp > {began}",
            )
        ] + [
            ["", o] for o in (
                ["timestamp ASC"], ["timestamp_ms DESC"], ["name DESC"], ["name", "timestamp ASC"], ["tags.n DESC"],
                ["metadata.`mlflow.trace.session` ASC", "request_id DESC"], ["status", "tag.n"], ["run_id", "timestamp ASC"],
            )
        ]
        expected = []
        for filter_string, order_by in queries:
            found = self.client.search_traces(
                locations=[experiment], filter_string=filter_string or None, order_by=order_by, max_results=100
            )
            expected.append([t.info.trace_id for t in found])
        self.assertEqual({len(ids) for ids in expected}, {0, 1, 2, 3, 4, 5})
        for where, uri in self.both.items():
            found = self.on(uri, "search", experiment, json.dumps(queries))
            for query, wanted, got in zip(queries, expected, found, strict=True):
                with self.subTest(where, query=query):
                    self.assertEqual(got, wanted)

    def test_webhooks(self):
        calls = []

        class Hook(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                calls.append(json.loads(body))
                self.send_response(202)
                self.end_headers()
                self.wfile.write(b"taken")

            def log_message(self, *args):
                pass

        hook = http.server.HTTPServer(("127.0.0.1", 0), Hook)
        self.addCleanup(hook.server_close)
        thread = threading.Thread(target=hook.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(hook.shutdown)
        url = f"http://127.0.0.1:{hook.server_port}/x"
        for where, uri in self.both.items():
            with self.subTest(where):
                seen = self.on(uri, "webhooks", url)
                (held,) = self.client.list_webhooks()
                events = ["model_version_alias.created", "model_version_tag.set"]
                self.assertEqual(sorted(str(e) for e in held.events), events)
                self.assertEqual((held.name, held.url, held.description), ("ci2", url, "builds"))
                self.assertEqual(seen["got"] | {"events": sorted(seen["got"]["events"])}, {
                    "id": held.webhook_id, "name": "ci2", "url": url, "events": events, "status": "ACTIVE",
                    "description": "builds",
                })
                self.assertEqual(seen["changed"], seen["got"])
                self.assertEqual(seen["list"], [seen["got"]])
                self.assertEqual(seen["deleted"], "not_found")
                if where == "server":
                    self.assertEqual(seen["tested"], [True, 202, "taken", ""])
                    self.assertEqual([(c["entity"], c["action"]) for c in calls], [("model_version_tag", "set")])
                else:
                    self.assertEqual(seen["tested"], "unimplemented")
                    # The server calls what the store was given.
                    result = self.client.test_webhook(held.webhook_id, WebhookEvent.from_str("model_version_tag.set"))
                    self.assertEqual((result.success, result.response_status), (True, 202))
                self.client.delete_webhook(held.webhook_id)

    def test_histories(self):
        c = self.client
        experiment = c.create_experiment("histories")
        runs = [c.create_run(experiment).info.run_id for _ in range(3)]
        c.log_batch(runs[0], [Metric("m", i / 2, 1000 - i, i) for i in range(10)] + [Metric("m", math.nan, 5, 3)])
        c.log_batch(runs[1], [Metric("m", 1.5, 1000, 0), Metric("other", 1, 1, 1)])
        ordered = [["NaN" if math.isnan(m.value) else m.value, m.step, m.timestamp]
                   for m in c.get_metric_history(runs[0], "m")]
        for where, uri in self.both.items():
            with self.subTest(where):
                seen = self.on(uri, "histories", "m", *runs, "a" * 32)
                self.assertEqual([len(p) for p in seen["pages"]], [4, 4, 3])
                self.assertEqual(sum(seen["pages"], []), ordered)
                self.assertEqual(seen["all"], {runs[0]: ordered, runs[1]: [[1.5, 0, 1000]]})
                for key, most, first, last in (("few", 4, None, None), ("one", 1, None, None), ("some", 3, 2, 7)):
                    wanted = {}
                    query = [("metric_key", "m"), ("max_results", most)] + [("run_ids", r) for r in runs]
                    if first is not None:
                        query += [("start_step", first), ("end_step", last)]
                    path = "/api/2.0/mlflow/metrics/get-history-bulk-interval?"
                    with urllib.request.urlopen(self.uri + path + urllib.parse.urlencode(query)) as answer:
                        for m in json.load(answer)["metrics"]:
                            value = m["value"] if isinstance(m["value"], str) or m["value"] == m["value"] else "NaN"
                            wanted.setdefault(m["run_id"], []).append([value, m["step"], m["timestamp"]])
                    self.assertEqual(seen[key], wanted)

    def test_logged_models(self):
        c = self.client
        experiment = c.create_experiment("logged models")
        made = c.create_logged_model(experiment, name="py", model_type="cnn", params={"a": "b"}, tags={"t": "ü"})
        c.finalize_logged_model(made.model_id, "FAILED")
        for where, uri in self.both.items():
            with self.subTest(where):
                run = c.create_run(experiment).info.run_id
                seen = self.on(uri, "models", experiment, run)
                self.assertEqual(seen["pending"]["status"], "PENDING")
                self.assertEqual(seen["failed"]["status"], "FAILED")
                done = seen["done"]
                model = c.get_logged_model(done["id"])
                self.assertEqual((str(model.status), model.model_type, model.source_run_id), ("READY", "cnn", run))
                self.assertEqual(model.params, {f"p{i}": str(i) for i in range(150)} | {"late": "1"})
                self.assertEqual(
                    [(m.key, m.value, m.step, m.timestamp, m.run_id, m.dataset_name, m.dataset_digest)
                     for m in sorted(model.metrics, key=lambda m: m.step)],
                    [("acc", 0.5, 1, 100, run, "digits", "d1"), ("acc", 0.625, 2, 200, run, "digits", "d1")],
                )
                self.assertEqual((done["params"], done["status"]), (model.params, "READY"))
                self.assertEqual(len(done["metrics"]), 2)
                self.assertEqual(done["tags"]["t"], "v")
                self.assertIn(done["id"], [m["id"] for m in seen["found"]])
                self.assertEqual([m.value for m in c.get_metric_history(run, "acc")], [0.5, 0.625])
                self.assertIn(
                    {"id": made.model_id, "name": "py", "type": "cnn", "status": "FAILED", "run_id": "",
                     "params": {"a": "b"}, "tags": {"t": "ü"}, "metrics": []},
                    seen["found"],
                )


if __name__ == "__main__":
    unittest.main(verbosity=2)
