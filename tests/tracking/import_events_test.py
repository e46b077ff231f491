#!/usr/bin/env python3
"""Event files of tensorboard's own writers and of tensorboardX, imported: what TensorBoard reads is in the store.

usage: import_events_test.py TRANSFER_PROGRAM
"""
import json
import math
import os
import pathlib
import sqlite3
import subprocess
import sys
import tempfile

import numpy
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.compat.proto import summary_pb2
from tensorboard.summary import Writer
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util
from tensorboard.compat.proto.event_pb2 import Event
from tensorboardX import SummaryWriter


def write(logs: pathlib.Path) -> None:
    with SummaryWriter(str(logs / "x")) as writer:  # simple_value
        for step in range(500):
            writer.add_scalar("loss/train", 1 / (step + 1), step)
        writer.add_scalar("odd", math.nan, 1)
        writer.add_scalar("odd", math.inf, 2)
        writer.add_scalar("a tag (with) [odd] characters?", 3, -7)
        writer.add_text("words", "hello", 1)
        writer.add_histogram("weights", numpy.arange(10.0), 1)
        writer.add_image("picture", numpy.zeros((3, 4, 4)), 1)
    # The new format: tensors whose metadata says that they are scalars.
    writer = Writer(str(logs / "deep/tensors"))
    for step in range(100):
        writer.add_scalar("accuracy", step / 100, step)
    writer.close()
    writer = EventFileWriter(str(logs / "deep/kinds"))
    metadata = summary_pb2.SummaryMetadata(plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="scalars"))
    for kind in ("float16", "float32", "float64", "int32", "int64", "uint8", "bool"):
        for step, packed in enumerate((1, 0)):
            value = summary_pb2.Summary.Value(tag=kind, tensor=tensor_util.make_tensor_proto(numpy.array(1, kind)))
            if step == 0:  # as writers do
                value.metadata.CopyFrom(metadata)
            writer.add_event(Event(wall_time=1_700_000_000.25 + step, step=step,
                                   summary=summary_pb2.Summary(value=[value])))
    writer.close()


def as_tensorboard(folder: pathlib.Path) -> dict:
    """Tag: [(step, milliseconds, value)], scalars as TensorBoard shows them."""
    events = event_accumulator.EventAccumulator(
        str(folder), size_guidance={event_accumulator.SCALARS: 0, event_accumulator.TENSORS: 0},
        purge_orphaned_data=False)
    events.Reload()
    points = {tag: [(e.step, round(e.wall_time * 1000), e.value) for e in events.Scalars(tag)]
              for tag in events.Tags()["scalars"]}
    for tag in events.Tags()["tensors"]:
        if events.SummaryMetadata(tag).plugin_data.plugin_name != "scalars":
            continue
        points[tag] = [(e.step, round(e.wall_time * 1000), tensor_util.make_ndarray(e.tensor_proto).item())
                       for e in events.Tensors(tag)]
    return points


def in_store(db: pathlib.Path, name: str) -> dict:
    points: dict = {}
    with sqlite3.connect(db) as store:
        for key, step, time, value, is_nan in store.execute(
                "SELECT m.key, step, timestamp, value, is_nan FROM metrics m JOIN runs USING (run_uuid) "
                "WHERE name = ? ORDER BY m.key, step, timestamp", (name,)):
            if is_nan:
                value = math.nan
            elif abs(value) == sys.float_info.max:
                value = math.copysign(math.inf, value)
            points.setdefault(key, []).append((step, time, value))
    store.close()
    return points


def close(a: list, b: list) -> bool:
    return len(a) == len(b) and all(
        x[0] == y[0] and abs(x[1] - y[1]) <= 1 and (x[2] == y[2] or math.isnan(x[2]) and math.isnan(y[2]))
        for x, y in zip(a, b))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        logs, db = pathlib.Path(folder, "logs"), pathlib.Path(folder, "mlflow.db")
        write(logs)

        def bring(into: pathlib.Path) -> dict:
            done = subprocess.run([sys.argv[1], "import-events", into, db, "brought"], check=True,
                                  stdout=subprocess.PIPE)
            return json.loads(done.stdout)

        report = bring(logs)
        assert report["problems"] == [], report
        assert report["runs"] == 3, report
        left_out = " ".join(subject for subject, _ in report["left_out"])
        for tag in ("words", "weights", "picture"):
            assert tag in left_out, (tag, report)
        total = 0
        for path in ("x", "deep/tensors", "deep/kinds"):
            seen, stored = as_tensorboard(logs / path), in_store(db, path)
            odd = "a tag (with) [odd] characters?"
            if odd in seen:
                seen["a tag _with_ _odd_ characters_"] = seen.pop(odd)
            assert sorted(seen) == sorted(stored), (path, sorted(seen), sorted(stored))
            for tag in seen:
                assert close(sorted(seen[tag]), sorted(stored[tag])), (path, tag, seen[tag][:3], stored[tag][:3])
                total += len(seen[tag])
        assert total == report["points"] == 500 + 3 + 100 + 14, (total, report)

        # Moved, grown, cut short and damaged, and imported again: what is new, once.
        moved = pathlib.Path(folder, "moved")
        os.rename(logs, moved)
        with SummaryWriter(str(moved / "x")) as writer:
            writer.add_scalar("loss/train", 9, 900)
        cut = next((moved / "deep/tensors").iterdir())
        with open(cut, "ab") as file:
            file.write(cut.read_bytes()[:20])  # the beginning of a frame
        damaged = next((moved / "deep/kinds").iterdir())
        content = bytearray(damaged.read_bytes())
        content[-8] ^= 1
        damaged.write_bytes(content)
        report = bring(moved)
        assert report["runs"] == 3 and len(report["problems"]) == 1, report
        assert "checksum" in report["problems"][0][1], report
        with sqlite3.connect(db) as store:
            (runs,), (points,) = (store.execute(f"SELECT count(*) FROM {table}").fetchone()
                                  for table in ("runs", "metrics"))
        store.close()
        assert (runs, points) == (3, total + 1), (runs, points)
    print("ok")


if __name__ == "__main__":
    main()
