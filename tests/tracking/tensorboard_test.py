#!/usr/bin/env python3
"""TensorBoard reads the event files of a run whose process was killed and taken over by another: each point once.

usage: tensorboard_test.py STORE_PROGRAM
"""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def single(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        logs = pathlib.Path(folder, "events")
        for _ in range(3):
            run = json.loads(subprocess.run([sys.argv[1], "events", f"{folder}/mlflow.db", logs], check=True,
                                            stdout=subprocess.PIPE).stdout)["run_id"]
            points: dict[str, list[tuple[int, float]]] = {}
            files = sorted((logs / run).iterdir())
            assert len(files) == 2, files  # one of each process
            for file in files:
                events = EventAccumulator(str(file), size_guidance={"scalars": 0})
                events.Reload()
                assert events.file_version == 2.0
                for tag in events.Tags()["scalars"]:
                    points.setdefault(tag, []).extend((event.step, event.value) for event in events.Scalars(tag))
            assert sorted(points) == ["loss", "val/accuracy"], sorted(points)
            assert sorted(points["loss"]) == [(step, single(1 / (step + 1))) for step in range(4000)]
            assert sorted(points["val/accuracy"]) == [(step, 0.5) for step in range(0, 4000, 10)]
            both = EventAccumulator(str(logs / run), size_guidance={"scalars": 0})
            both.Reload()
            assert len(both.Scalars("loss")) == 4000
    print("TensorBoard read every point once")


main()
