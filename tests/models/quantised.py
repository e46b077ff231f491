"""Models of models.py in narrower types, as users make them: bytes by ONNX Runtime's dynamic quantisation, halves.

    quantised.py FOLDER MODELS     makes FOLDER/<model>_int8/… and <model>_fp16/… as models.py does, from MODELS, its folder
"""

import pathlib
import sys

import halves
import numpy as np
from models import write
from onnxruntime.quantization import QuantType, quantize_dynamic


def main():
    folder, models = map(pathlib.Path, sys.argv[1:3])
    folder.mkdir(parents=True, exist_ok=True)
    quantised = folder / "minilm_int8.onnx"
    quantize_dynamic(models / "minilm" / "model.onnx", quantised, weight_type=QuantType.QInt8)
    model = quantised.read_bytes()
    quantised.unlink()
    cases: dict[str, dict[str, np.ndarray]] = {}
    for line in (models / "minilm" / "cases.txt").read_text().splitlines():
        case, role, file, array = line.split("\t")
        if role == "input":
            cases.setdefault(case, {})[array] = np.load(models / "minilm" / file)
    write(folder, "minilm_int8", model, list(cases.values()))
    model = halves.halved((models / "minilm" / "model.onnx").read_bytes())
    write(folder, "minilm_fp16", model, [halves.halved_inputs(each) for each in cases.values()])
    (folder / ".complete").touch()


if __name__ == "__main__":
    main()
