"""The node tests of the onnx package as files, for the test program onnx_node_test.

    node_cases.py FOLDER      writes FOLDER/<case>/model.onnx, *.npy and cases.txt (as models.py does)

Taken are the cases of the default domain whose inputs and outputs are dense numeric tensors.
"""

import pathlib
import sys
import warnings

import numpy as np

warnings.filterwarnings("ignore")
from onnx.backend.test.case.node import collect_testcases  # noqa: E402

TYPES = {np.dtype(t) for t in ("f4", "f8", "f2", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")}


def numeric(values):
    return all(isinstance(v, np.ndarray) and v.dtype in TYPES or np.isscalar(v) for v in values)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for case in collect_testcases(None):
        graph = case.model.graph
        if any(node.domain not in ("", "ai.onnx") for node in graph.node) or case.model.functions:
            continue
        (inputs, outputs), *_ = case.data_sets
        if not numeric(inputs) or not numeric(outputs):
            continue
        target = folder / case.name
        target.mkdir(exist_ok=True)
        (target / "model.onnx").write_bytes(case.model.SerializeToString())
        listing = []
        for kind, infos, arrays in (("input", graph.input, inputs), ("output", graph.output, outputs)):
            for k, (info, array) in enumerate(zip(infos, arrays)):
                np.save(target / f"{kind}{k}.npy", np.asarray(array, order="C"))
                listing.append(f"0\t{kind}\t{kind}{k}.npy\t{info.name}")
        listing.append(f"0\ttolerance\t{case.rtol}\t{case.atol}")
        (target / "cases.txt").write_text("\n".join(listing) + "\n")
    (folder / ".complete").touch()


if __name__ == "__main__":
    main()
