"""model_builder against onnx.checker and ONNX Runtime: builder_test.py BUILD_MODEL"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.onnx"
        subprocess.run([sys.argv[1], str(path)], check=True)
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)

        assert model.ir_version == 9, model.ir_version
        assert {(o.domain, o.version) for o in model.opset_import} == {("", 17), ("ai.onnx.ml", 3)}
        assert (model.producer_name, model.producer_version) == ("builder_test", "1.2")
        assert {p.key: p.value for p in model.metadata_props} == {"purpose": "test"}
        dims = model.graph.input[0].type.tensor_type.shape.dim
        assert [d.dim_param or d.dim_value for d in dims] == ["batch", 3, 4, 4]
        constants = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
        assert constants["label"].tolist() == [b"no", b"yes"] or constants["label"].tolist() == ["no", "yes"]
        assert constants["flag"].tolist() == [True, False]

        x = (np.arange(96) % 7 - 3).astype(np.float32).reshape(2, 3, 4, 4)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        expected, ks = session.run(["z", "ks"], {"x": x})
        actual = np.fromfile(f"{path}.z", np.float32).reshape(expected.shape)
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
        assert ks.tolist() == [1, 2]
    print("model_builder: accepted by onnx.checker, same results as ONNX Runtime")


if __name__ == "__main__":
    main()
