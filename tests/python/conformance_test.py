"""The ONNX conformance suite (onnx.backend.test's node cases) on the operators the CPU computes."""
import collections

import mizzen
import numpy as np
import onnx
from mizzen.inference import Session
from onnx.backend.test.case.node import collect_testcases

# Arithmetic of the CPU device: every case of these must pass, but for what REFUSED says. (Operators
# whose cases all ask for an operator set beyond the newest supported one are not listed.)
OPERATORS = set(
    """Abs Acos Acosh Add Asin Asinh Atan Atanh AveragePool BatchNormalization Ceil Clip Conv
    ConvTranspose Cos Cosh Div Elu Erf Exp Floor Gelu Gemm GlobalAveragePool GlobalMaxPool HardSigmoid
    HardSwish InstanceNormalization LayerNormalization LeakyRelu Log LogSoftmax MatMul Max MaxPool Mean
    Min Mish Mul Neg PRelu Pow RMSNormalization Reciprocal ReduceL1 ReduceL2 
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Round Selu
    Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu""".split()
)
# Answers that are right for a case beyond what the device has: it must say so, never compute wrongly.
REFUSED = (
    "for one and two spatial dimensions",
    "training_mode",
    "has no kernel for",
    "has kernels for weights of rank 3 and 4",
    "operator set",
    "other broadcasts are not supported",
)


def to_array(value: object) -> np.ndarray:
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def check(case: object) -> None:
    for inputs, outputs in case.data_sets:
        names = [value.name for value in case.model.graph.input]
        arrays = {name: to_array(value) for name, value in zip(names, inputs)}
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        if "axes" in arrays:
            # Shapes that depend on data are not supported: axes are a constant in every real model.
            constant = onnx.numpy_helper.from_array(arrays.pop("axes"), "axes")
            model.graph.initializer.append(constant)
            del model.graph.input[names.index("axes")]
        got = Session(model.SerializeToString(), threads=1).run(arrays)
        for info, want in zip(case.model.graph.output, outputs):
            want = to_array(want)
            assert got[info.name].dtype == want.dtype
            assert got[info.name].shape == want.shape
            np.testing.assert_allclose(got[info.name], want, rtol=max(case.rtol, 1e-5), atol=1e-6)


def test_node_cases() -> None:
    passed: collections.Counter = collections.Counter()
    failed = []
    for case in collect_testcases(None):
        nodes = case.model.graph.node
        if len(nodes) != 1 or nodes[0].op_type not in OPERATORS or nodes[0].domain:
            continue
        try:
            check(case)
            passed[nodes[0].op_type] += 1
        except mizzen.Error as refusal:
            if not any(reason in str(refusal) for reason in REFUSED):
                failed.append(f"{case.name}: {refusal}")
        except AssertionError as difference:
            failed.append(f"{case.name}: {difference}")
    assert not failed, "\n".join(failed)
    assert OPERATORS - set(passed) == set(), "operators of which no case passed"
    print(f"{sum(passed.values())} cases of {len(passed)} operators passed")
