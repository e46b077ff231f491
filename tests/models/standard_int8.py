"""Networks of standard.py quantised to 8 bits as users do it, with ONNX Runtime's static quantisation over seeded pictures.

    standard_int8.py FOLDER STANDARD     makes FOLDER/<model>_int8/… as models.py does, from STANDARD, its folder
"""

import pathlib
import sys
import tempfile

import models
import numpy as np
from zoo import quantised


def main():
    folder, standard = map(pathlib.Path, sys.argv[1:3])
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(3)
    for name in ("mobilenet_v2", "resnet50"):
        pictures = [{"image": random.normal(0, 1, (1, 3, 224, 224)).astype(np.float32)} for _ in range(2)]
        with tempfile.TemporaryDirectory() as scratch:
            model = quantised((standard / name / "model.onnx").read_bytes(), pictures, pathlib.Path(scratch))
        models.write(folder, f"{name}_int8", model, pictures[:1])
    (folder / ".complete").touch()


if __name__ == "__main__":
    main()
