"""The exported lineage, read by others' own code: lineage_export_test.py EXTRAS_PROGRAM"""
import json
import os
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import unittest
import uuid

PROGRAM = os.path.abspath(sys.argv.pop(1))

import ml_metadata
from ml_metadata.proto import metadata_store_pb2 as proto
from openlineage.client import event_v2, facet_v2
from openlineage.client.serde import Serde

FACETS = {
    "parent": facet_v2.parent_run.ParentRunFacet,
    "jobType": facet_v2.job_type_job.JobTypeJobFacet,
    "documentation": facet_v2.documentation_job.DocumentationJobFacet,
    "sourceCodeLocation": facet_v2.source_code_location_job.SourceCodeLocationJobFacet,
    "version": facet_v2.dataset_version_dataset.DatasetVersionDatasetFacet,
    "dataSource": facet_v2.datasource_dataset.DatasourceDatasetFacet,
    "schema": facet_v2.schema_dataset.SchemaDatasetFacet,
}


def open_store(path, mode):
    config = proto.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    config.sqlite.connection_mode = mode
    return ml_metadata.MetadataStore(config)


def schema_of(path):
    """Columns, keys and indices of each table, however they are written."""
    with sqlite3.connect(path) as on:
        tables = [name for (name,) in on.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        out = {}
        for table in tables:
            columns = on.execute(f"PRAGMA table_info({table})").fetchall()
            indices = []
            for _, name, unique, _, partial in on.execute(f"PRAGMA index_list({table})").fetchall():
                parts = [c for _, _, c in on.execute(f"PRAGMA index_info('{name}')")]
                indices.append((parts, unique, partial))
            out[table] = (columns, sorted(indices))
        return out


class ExportTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        done = subprocess.run(
            [PROGRAM, "lineage", cls.folder / "mlflow.db", cls.folder / "events.ndjson", cls.folder / "mlmd.db"],
            capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        cls.facts = json.loads(done.stdout)
        cls.events = [json.loads(l) for l in (cls.folder / "events.ndjson").read_text().splitlines()]

    def parsed(self, event):
        """The event as objects of OpenLineage's own classes, which check what they are given."""
        def facets(of):
            out = {}
            for name, content in of.get("facets", {}).items():
                kind = FACETS[name]
                self.assertEqual(content["_schemaURL"], kind._get_schema(), name)
                plain = {k: v for k, v in content.items() if not k.startswith("_")}
                made = kind(producer=content["_producer"], **plain)
                self.assertEqual(made._schemaURL, content["_schemaURL"])
                out[name] = made
            return out

        data = lambda kind, of: kind(namespace=of["namespace"], name=of["name"], facets=facets(of))
        return event_v2.RunEvent(
            eventTime=event["eventTime"],
            producer=event["producer"],
            eventType=event_v2.RunState(event["eventType"]),
            run=event_v2.Run(runId=event["run"]["runId"], facets=facets(event["run"])),
            job=event_v2.Job(namespace=event["job"]["namespace"], name=event["job"]["name"],
                             facets=facets(event["job"])),
            inputs=[data(event_v2.InputDataset, d) for d in event["inputs"]],
            outputs=[data(event_v2.OutputDataset, d) for d in event["outputs"]],
        )

    def test_openlineage(self):
        for event in self.events:
            made = self.parsed(event)
            self.assertEqual(made.schemaURL, event["schemaURL"])
            # The names of all that is in it are those of the classes.
            again = Serde.to_dict(made)
            for key in ("run", "job", "inputs", "outputs", "eventTime", "eventType", "producer"):
                self.check_within(event[key], again[key], key)
        def of(run, kind):
            (found,) = [e for e in self.events
                        if uuid.UUID(e["run"]["runId"]).hex == self.facts[run] and e["eventType"] == kind]
            return found

        self.assertEqual(len(self.events), 5)
        self.assertEqual(self.events[0]["eventTime"], "2023-11-14T22:13:20.123Z")
        complete = of("run", "COMPLETE")
        of("run", "START"), of("child", "FAIL"), of("open", "START")
        facets = complete["job"]["facets"]
        self.assertEqual(facets["documentation"]["description"], "a *note* — ünïcode")
        self.assertEqual(facets["sourceCodeLocation"]["url"], "ssh://git@host/team/x.git")
        self.assertEqual(facets["sourceCodeLocation"]["version"], "a" * 40)
        inputs = {d["name"]: d["facets"] for d in complete["inputs"]}
        self.assertEqual(inputs.keys(), {"digits", "tensors"})
        self.assertEqual(inputs["digits"]["version"]["datasetVersion"], "2b679e2b")
        self.assertEqual(inputs["digits"]["dataSource"]["uri"], "file:///data/digits.npy")
        self.assertEqual(inputs["digits"]["schema"]["fields"],
                         [{"name": "x", "type": "double"}, {"name": "y", "type": "long"}])
        self.assertEqual(inputs["tensors"]["schema"]["fields"],
                         [{"name": "features", "type": "float32[-1,2]"}])
        outputs = {d["name"]: d["facets"]["version"]["datasetVersion"] for d in complete["outputs"]}
        self.assertEqual(outputs, {"model/net": self.facts["model"], "model_version/clf": "1"})
        parent = of("child", "FAIL")["run"]["facets"]["parent"]
        self.assertEqual(uuid.UUID(parent["run"]["runId"]).hex, self.facts["run"])
        self.assertEqual(parent["job"], {"namespace": "mizzen", "name": "digits"})

    def check_within(self, part, whole, where):
        if isinstance(part, dict):
            for key, value in part.items():
                self.assertIn(key, whole, where)
                self.check_within(value, whole[key], f"{where}.{key}")
        elif isinstance(part, list):
            self.assertEqual(len(part), len(whole), where)
            for i, (a, b) in enumerate(zip(part, whole)):
                self.check_within(a, b, f"{where}[{i}]")
        else:
            self.assertEqual(part, whole, where)

    def test_mlmd(self):
        path = self.folder / "mlmd.db"
        reference = self.folder / "reference.db"
        open_store(reference, proto.SqliteMetadataSourceConfig.READWRITE_OPENCREATE)
        self.assertEqual(schema_of(path), schema_of(reference))

        store = open_store(path, proto.SqliteMetadataSourceConfig.READWRITE)
        artifacts, executions = store.get_artifacts(), store.get_executions()
        self.assertEqual(len(artifacts), self.facts["artifacts"])
        self.assertEqual(len(executions), self.facts["executions"])
        self.assertEqual({t.name for t in store.get_artifact_types() if t.name.startswith("mizzen")},
                         {"mizzen.Dataset", "mizzen.Model", "mizzen.ModelVersion", "mizzen.Endpoint"})
        run = store.get_execution_by_type_and_name("mizzen.Run", self.facts["run"])
        self.assertEqual(run.last_known_state, proto.Execution.COMPLETE)
        self.assertEqual(run.properties["run_name"].string_value, "train")
        self.assertEqual(run.properties["status"].string_value, "FINISHED")
        self.assertEqual(run.custom_properties["param/rate"].string_value, "0.1")
        self.assertEqual(run.custom_properties["metric/loss"].double_value, 0.25)
        self.assertEqual(run.custom_properties["metric/odd"].string_value, "NaN")
        self.assertEqual(run.custom_properties["started of"].string_value, "ingest pipeline-1")
        self.assertEqual(run.create_time_since_epoch, 1_700_000_000_123)
        self.assertEqual(run.last_update_time_since_epoch, self.facts["end"])
        state = lambda name: store.get_execution_by_type_and_name("mizzen.Run", self.facts[name]).last_known_state
        self.assertEqual(state("child"), proto.Execution.FAILED)
        self.assertEqual(state("open"), proto.Execution.RUNNING)

        events = store.get_events_by_execution_ids([run.id])
        by_id = {a.id: a for a in artifacts}
        named = lambda kind: {by_id[e.artifact_id].properties["name"].string_value
                              for e in events if e.type == kind}
        self.assertEqual(named(proto.Event.INPUT), {"digits", "tensors"})
        self.assertEqual(named(proto.Event.OUTPUT), {"net"})
        (context,) = store.get_contexts()
        self.assertEqual((context.name, context.type), ("digits", "mizzen.Experiment"))
        self.assertEqual({e.id for e in store.get_executions_by_context(context.id)},
                         {e.id for e in executions if e.type == "mizzen.Run"})
        # From the endpoint back to the data, by MLMD's own query of lineage.
        (endpoint,) = store.get_artifacts_by_type("mizzen.Endpoint")
        self.assertEqual(endpoint.uri, "http://localhost/v2")
        graph = store.get_lineage_subgraph(proto.LineageSubgraphQueryOptions(
            starting_artifacts=proto.LineageSubgraphQueryOptions.StartingNodes(
                filter_query=f"id = {endpoint.id}"),
            max_num_hops=20,
            direction=proto.LineageSubgraphQueryOptions.Direction.UPSTREAM))
        self.assertLessEqual({"digits 2b679e2b", "clf 1"}, {a.name for a in graph.artifacts})
        # It is a store like any other: it can be written.
        (kind,) = [t for t in store.get_artifact_types() if t.name == "mizzen.Dataset"]
        store.put_artifacts([proto.Artifact(type_id=kind.id, name="more")])


if __name__ == "__main__":
    unittest.main(verbosity=2)
