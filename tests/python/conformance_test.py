"""The standard's own tests of operators: every case is right, or refused as unimplemented."""
import pathlib
import re

import conformance
import mizzen.onnx_backend
import numpy as np
import onnx
import pytest

EXCUSED = (
    # What is expected carries the rounding of its own computation (1.9e-7 for an exact 0, the last bit of a float16),
    # beyond the case's tolerance.
    "test_dft_inverse",
    "test_attention_4d_causal_fp16_expanded",
    # The runner cannot compare what it expects, a sequence, whoever answers.
    "test_loop16_seq_none",
)
DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "inference" / "conformance.md"


def documented(row: str) -> int:
    """How many cases of a row of the document Mizzen passes."""
    found = re.search(rf"^\| \*\*{row}\*\* \| \d+ \| (\d+) ", DOCUMENT.read_text(), re.MULTILINE)
    assert found, f"{DOCUMENT.name} has no row '{row}'"
    return int(found[1])


def test_node_cases() -> None:
    results = conformance.run("mizzen")
    failed = [
        f"{each.case}: {each.reason}"
        for each in results
        if each.status == "failed" and not each.case.startswith((*conformance.RANDOM, *EXCUSED))
    ]
    assert not failed, "\n".join(failed)
    old = [each for each in results if each.opset < conformance.FIRST_NEW_OPSET]
    new = [each for each in results if each.opset >= conformance.FIRST_NEW_OPSET]
    print(conformance.table({"mizzen": results}))
    # What the document promises.
    assert conformance.count(old)["passed"] >= documented("below 27")
    assert conformance.count(new)["passed"] >= documented("27 and above")


def test_backend_by_name_and_by_order() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    node = onnx.helper.make_node("Sub", ["a", "b"], ["c"])
    (difference,) = mizzen.onnx_backend.run_node(node, [x, np.ones_like(x)], opset_version=14)
    np.testing.assert_array_equal(difference, x - 1)

    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "difference",
        [value("a", onnx.TensorProto.FLOAT, ["n", 3]), value("b", onnx.TensorProto.FLOAT, ["n", 3])],
        [value("c", onnx.TensorProto.FLOAT, ["n", 3])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)])
    prepared = mizzen.onnx_backend.prepare(model)
    np.testing.assert_array_equal(prepared.run({"b": np.ones_like(x), "a": x})[0], x - 1)
    with pytest.raises(ValueError, match="3 inputs given; the model has 2: a, b"):
        prepared.run([x, x, x])


def test_backend_names_devices_as_onnx_does() -> None:
    assert mizzen.onnx_backend.supports_device("CPU")
    assert not mizzen.onnx_backend.supports_device("TPU")
