"""The node tests of the onnx package as files, for the test program onnx_node_test.

    node_cases.py FOLDER      writes FOLDER/<case>/model.onnx, *.npy and cases.txt (as models.py does)

Taken are the cases of the default domain whose inputs and outputs are dense numeric tensors. Of the
types that NumPy itself lacks the bits are written, one element a byte or two; cases.txt says which
type they stand for.
"""

import pathlib
import sys
import warnings

import ml_dtypes
import numpy as np

warnings.filterwarnings("ignore")
from onnx import TensorProto, numpy_helper  # noqa: E402
from onnx.backend.test.case.node import collect_testcases  # noqa: E402

TYPES = {np.dtype(t) for t in ("f4", "f8", "f2", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")}
# By the names of mizzen::inference::to_string, and their bits.
SMALL = {
    np.dtype(ml_dtypes.bfloat16): ("bfloat16", np.uint16),
    np.dtype(ml_dtypes.float8_e4m3fn): ("float8_e4m3fn", np.uint8),
    np.dtype(ml_dtypes.float8_e4m3fnuz): ("float8_e4m3fnuz", np.uint8),
    np.dtype(ml_dtypes.float8_e5m2): ("float8_e5m2", np.uint8),
    np.dtype(ml_dtypes.float8_e5m2fnuz): ("float8_e5m2fnuz", np.uint8),
    np.dtype(ml_dtypes.float8_e8m0fnu): ("float8_e8m0", np.uint8),
    np.dtype(ml_dtypes.float4_e2m1fn): ("float4_e2m1", np.uint8),
    np.dtype(ml_dtypes.int4): ("int4", np.uint8),
    np.dtype(ml_dtypes.uint4): ("uint4", np.uint8),
    np.dtype(ml_dtypes.int2): ("int2", np.uint8),
    np.dtype(ml_dtypes.uint2): ("uint2", np.uint8),
}


def array_of(value):
    """Some cases hold messages instead of arrays."""
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value


def numeric(values):
    known = TYPES | set(SMALL)
    return all(isinstance(v, (np.ndarray, np.generic)) and v.dtype in known or np.isscalar(v) for v in values)


def write_case(target, model, inputs, outputs, rtol, atol):
    """A folder that read_cases() of tests/inference/model_cases.hpp reads."""
    target.mkdir(exist_ok=True)
    graph = model.graph
    (target / "model.onnx").write_bytes(model.SerializeToString())
    listing = []
    for kind, infos, arrays in (("input", graph.input, inputs), ("output", graph.output, outputs)):
        for k, (info, array) in enumerate(zip(infos, arrays)):
            array = np.asarray(array, order="C")
            small, bits = SMALL.get(array.dtype, ("", None))
            np.save(target / f"{kind}{k}.npy", array.view(bits) if small else array)
            listing.append(f"0\t{kind}\t{kind}{k}.npy\t{info.name}\t{small}".rstrip("\t"))
    listing.append(f"0\ttolerance\t{rtol}\t{atol}")
    (target / "cases.txt").write_text("\n".join(listing) + "\n")


def cases():
    """Name, model, inputs, outputs and tolerances of those that are taken."""
    for case in collect_testcases(None):
        graph = case.model.graph
        if any(node.domain not in ("", "ai.onnx") for node in graph.node) or case.model.functions:
            continue
        inputs, outputs = (list(map(array_of, values)) for values in case.data_sets[0])
        if numeric(inputs) and numeric(outputs):
            yield case.name, case.model, inputs, outputs, case.rtol, case.atol


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, *case in cases():
        write_case(folder / name, *case)
    (folder / ".complete").touch()


if __name__ == "__main__":
    main()
