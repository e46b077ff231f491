#!/usr/bin/env python3
"""Mizzen on a GPU against torch, and against what the GPU can do, in one run.

  measure.py [--dry] MIZZEN_GPU_RUN RESULTS [--only NAME]... [--runs N]

Exports ResNet-50 and BERT-base with seeded weights where torchvision and transformers are there, and takes
further models from RESULTS/models/*.onnx. Each row: whole runs, inputs and outputs in the host's memory, for
Mizzen, torch eager and torch.compile (max-autotune, CUDA graphs) alike; torch with its inputs on the GPU
besides. The ceilings are measured first: a copy within the GPU's memory, and a product of 8192 x 8192 matrices.
Writes RESULTS/gpu.json (records as benchmarks/record.py makes them) and RESULTS/gpu.md. --dry: only the
tables' form, with no figures.
"""
from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from record import Records  # noqa: E402

# name, batches, shape behind the batch, multiply-adds of one item
RESNET = ("resnet50", (1, 8, 32, 128), (3, 224, 224), 4.09e9)
BERT = ("bert-base-128", (1, 8, 32), (128,), 11.2e9)


def run_mizzen(program: str, model: pathlib.Path, math: str, runs: int, shapes: list[str]) -> dict[str, float]:
    done = subprocess.run([program, str(model), "cuda:0", math, str(runs), *shapes], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout)


def times_of(call, torch, runs: int) -> list[float]:
    """Seconds of each call, to the end of the GPU's work."""
    for _ in range(5):
        call()
    torch.cuda.synchronize()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return times


def ceilings(torch) -> dict[str, float]:
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.float16)
    b = torch.randn(8192, 8192, device="cuda", dtype=torch.float16)
    product = min(times_of(lambda: a @ b, torch, 20))
    x = torch.randn(1 << 28, device="cuda")
    y = torch.empty_like(x)
    copy = min(times_of(lambda: y.copy_(x), torch, 20))
    return {"flops": 2 * 8192**3 / product, "bytes": 2 * x.numel() * 4 / copy}


def export(torch, folder: pathlib.Path) -> dict[str, tuple]:
    """Modules with seeded weights and their ONNX files."""
    made: dict[str, tuple] = {}
    torch.manual_seed(0)
    try:
        import torchvision

        net = torchvision.models.resnet50(weights=None).eval()
        made[RESNET[0]] = (net, lambda n: (torch.randn(n, *RESNET[2]),), ["input"])
    except ImportError as e:
        print(f"without ResNet-50: {e}")
    try:
        import transformers

        net = transformers.BertModel(transformers.BertConfig(attn_implementation="sdpa"), add_pooling_layer=False).eval()

        class Encoder(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.net = net

            def forward(self, ids):
                return self.net(ids).last_hidden_state

        made[BERT[0]] = (Encoder().eval(), lambda n: (torch.randint(0, 1000, (n, *BERT[2])),), ["ids"])
    except ImportError as e:
        print(f"without BERT: {e}")
    for name, (net, inputs, names) in made.items():
        for batch in (RESNET if name == RESNET[0] else BERT)[1]:
            file = folder / f"{name}-b{batch}.onnx"
            if not file.exists():
                with torch.no_grad():
                    torch.onnx.export(net, inputs(batch), str(file), input_names=names, opset_version=18, dynamo=True, external_data=False)
    return made


def compare(arguments, records: Records) -> list[str]:
    import torch

    gpu = torch.cuda.get_device_name(0)
    peak = ceilings(torch)
    lines = [f"{gpu}; torch {torch.__version__}; product {peak['flops'] / 1e12:.0f} TFLOP/s (float16), copy {peak['bytes'] / 1e12:.2f} TB/s", "",
             "| model | batch | Mizzen, ms | torch eager | torch.compile | eager on the GPU | compile on the GPU | ceiling, ms | difference | ready, ms |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    folder = arguments.results / "models"
    folder.mkdir(parents=True, exist_ok=True)
    made = export(torch, folder)
    for name, (net, inputs, _) in made.items():
        spec = RESNET if name == RESNET[0] else BERT
        if arguments.only and name not in arguments.only:
            continue
        half = net.half().cuda()
        for batch in spec[1]:
            case = f"{name} b{batch} float16"
            ours = run_mizzen(arguments.program, folder / f"{name}-b{batch}.onnx", "float16", arguments.runs, [])
            again = run_mizzen(arguments.program, folder / f"{name}-b{batch}.onnx", "float16", arguments.runs, [])
            host = [t.half().pin_memory() if t.is_floating_point() else t.pin_memory() for t in inputs(batch)]
            device = [t.cuda() for t in host]
            fast = torch.compile(half, mode="max-autotune")
            row: dict[str, list[float]] = {}
            with torch.no_grad():
                for label, call in (("eager", half), ("compile", fast)):
                    row[label] = times_of(lambda: call(*[t.cuda(non_blocking=True) for t in host]).cpu(), torch, arguments.runs)
                    row[label + " on the GPU"] = times_of(lambda: call(*device), torch, arguments.runs)
            ceiling = 2 * spec[3] * batch / peak["flops"] * 1e3
            mine = min(ours["min_ms"], again["min_ms"])
            for label in ("eager", "compile"):
                records.add(case, "minimum", "ms", mine, f"torch {torch.__version__} {label}", min(row[label]) * 1e3, hardware=gpu)
                records.add(case, "median", "ms", ours["median_ms"], f"torch {torch.__version__} {label}", statistics.median(row[label]) * 1e3, hardware=gpu)
            lines.append(f"| {name} | {batch} | {mine:.3f} | " + " | ".join(f"{min(row[k]) * 1e3:.3f}" for k in ("eager", "compile", "eager on the GPU", "compile on the GPU"))
                         + f" | {ceiling:.3f} | {ours['difference']:.2g} | {ours['ready_ms']:.0f}, then {again['ready_ms']:.0f} |")
    for model in sorted(folder.glob("*.onnx")):
        if any(model.name.startswith(name) for name in made):
            continue
        row = run_mizzen(arguments.program, model, "float16", arguments.runs, [])
        lines.append(f"| {model.stem} | | {row['min_ms']:.3f} | | | | | | {row['difference']:.2g} | {row['ready_ms']:.0f} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("program")
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--runs", type=int, default=50)
    arguments = parser.parse_args()
    arguments.results.mkdir(parents=True, exist_ok=True)
    if arguments.dry:
        subprocess.run([arguments.program, "devices"], check=True)
        print("dry: nothing is measured")
        return 0
    records = Records()
    lines = compare(arguments, records)
    (arguments.results / "gpu.json").write_text(json.dumps(records.list, indent=1) + "\n")
    (arguments.results / "gpu.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
