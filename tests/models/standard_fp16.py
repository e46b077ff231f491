"""Networks of standard.py in float16.

    standard_fp16.py FOLDER STANDARD     makes FOLDER/<model>_fp16/… as models.py does, from STANDARD, its folder
"""

import pathlib
import sys

import halves
import models
import numpy as np


def main():
    folder, standard = map(pathlib.Path, sys.argv[1:3])
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(3)
    for name in ("mobilenet_v2", "resnet50"):
        picture = {"image": random.normal(0, 1, (1, 3, 224, 224)).astype(np.float32)}
        model = halves.halved((standard / name / "model.onnx").read_bytes())
        models.write(folder, f"{name}_fp16", model, [halves.halved_inputs(picture)])
    (folder / ".complete").touch()


if __name__ == "__main__":
    main()
