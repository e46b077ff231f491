"""The real tritonclient against the server: metadata, every datatype, JSON and binary both ways,
errors; and the metrics as Prometheus' own parser reads them."""

import sys
import unittest
import urllib.request

import numpy as np
import tritonclient.http as triton
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.utils import InferenceServerException

import harness

PROGRAM = sys.argv.pop(1)

VALUES = {
    "BOOL": np.array([[True, False, True]]),
    "UINT8": np.array([[0, 1, 255]], np.uint8),
    "UINT16": np.array([[0, 65535]], np.uint16),
    "UINT32": np.array([[0, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[0, 2**64 - 1]], np.uint64),
    "INT8": np.array([[-128, 127]], np.int8),
    "INT16": np.array([[-(2**15), 2**15 - 1]], np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**63), 2**63 - 1]], np.int64),
    "FP16": np.array([[0.1, -65504, 6e-8]], np.float16),
    "FP32": np.array([[0.1, -3.4e38, 1e-45, 16777217]], np.float32),
    "FP64": np.array([[0.1, -1.7e308, 5e-324]], np.float64),
    "BYTES": np.array([[b"", b"text", "ä\"\n".encode()]], np.object_),
}


class TritonClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = harness.running(PROGRAM)
        cls.process, cls.address = cls.stack.__enter__()
        cls.client = triton.InferenceServerClient(cls.address, concurrency=4)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.stack.__exit__(None, None, None)
        assert cls.process.returncode == 0, cls.process.returncode

    def echo(self, datatype, value, binary_in, binary_out, **more):
        tensor = triton.InferInput(datatype, value.shape, datatype)
        tensor.set_data_from_numpy(value, binary_data=binary_in)
        wanted = triton.InferRequestedOutput("out_" + datatype, binary_data=binary_out)
        result = self.client.infer("echo_" + datatype, [tensor], outputs=[wanted], **more)
        return result, result.as_numpy("out_" + datatype)

    def test_health_and_metadata(self):
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_server_ready())
        self.assertTrue(self.client.is_model_ready("double"))
        self.assertTrue(self.client.is_model_ready("double", "1"))
        self.assertFalse(self.client.is_model_ready("nothing"))
        self.assertIn("binary_tensor_data", self.client.get_server_metadata()["extensions"])
        metadata = self.client.get_model_metadata("double")
        self.assertEqual(metadata["inputs"], [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}])
        self.assertEqual(self.client.get_model_metadata("echo", "3")["versions"], ["3"])

    def test_every_datatype_both_ways(self):
        for datatype, value in VALUES.items():
            for binary_in in (True, False):
                if datatype == "FP16" and not binary_in:
                    continue  # the client itself refuses FP16 as JSON
                for binary_out in (True, False):
                    with self.subTest(datatype=datatype, binary=(binary_in, binary_out)):
                        _, got = self.echo(datatype, value, binary_in, binary_out)
                        self.assertEqual(got.shape, value.shape)
                        if datatype == "BYTES":
                            texts = [x if isinstance(x, bytes) else x.encode() for x in got.ravel()]
                            self.assertEqual(texts, list(value.ravel()))
                        else:
                            self.assertEqual(got.dtype, value.dtype)
                            np.testing.assert_array_equal(got, value)

    def test_not_a_number_goes_in_binary_only(self):
        value = np.array([np.nan, np.inf], np.float32)
        np.testing.assert_array_equal(self.echo("FP32", value, True, True)[1], value)
        with self.assertRaisesRegex(InferenceServerException, "binary_data"):
            self.echo("FP32", value, True, False)

    def test_empty_tensor(self):
        value = np.zeros((0, 4), np.float32)
        self.assertEqual(self.echo("FP32", value, True, True)[1].shape, (0, 4))

    def test_large_tensor(self):
        value = np.arange(1_000_000, dtype=np.float32).reshape(1000, 1000)
        for binary in (True, False):
            np.testing.assert_array_equal(self.echo("FP32", value, binary, binary)[1], value)

    def test_two_inputs_id_and_all_outputs(self):
        numbers = triton.InferInput("FP32", [2], "FP32")
        numbers.set_data_from_numpy(np.array([1, 2], np.float32))
        texts = triton.InferInput("BYTES", [1], "BYTES")
        texts.set_data_from_numpy(np.array([b"x"], np.object_))
        result = self.client.infer("echo", [texts, numbers], request_id="abc")
        answer = result.get_response()
        self.assertEqual((answer["id"], answer["model_name"], answer["model_version"]), ("abc", "echo", "3"))
        self.assertEqual([o["name"] for o in answer["outputs"]], ["out_FP32", "out_BYTES"])
        np.testing.assert_array_equal(result.as_numpy("out_FP32"), [1, 2])
        self.assertEqual(result.as_numpy("out_BYTES")[0], b"x")

    def test_asynchronous_requests(self):
        pending = []
        for i in range(50):
            tensor = triton.InferInput("x", [1, 2], "FP32")
            tensor.set_data_from_numpy(np.array([[i, -i]], np.float32))
            pending.append(self.client.async_infer("double", [tensor]))
        for i, request in enumerate(pending):
            np.testing.assert_array_equal(request.get_result().as_numpy("y"), [[2 * i, -2 * i]])

    def test_errors_name_the_field(self):
        tensor = triton.InferInput("x", [1, 3], "FP32")
        tensor.set_data_from_numpy(np.zeros((1, 3), np.float32))
        with self.assertRaisesRegex(InferenceServerException, r"inputs\[0\]\.shape"):
            self.client.infer("double", [tensor])
        with self.assertRaisesRegex(InferenceServerException, "model 'nothing'"):
            self.client.infer("nothing", [tensor])
        with self.assertRaisesRegex(InferenceServerException, "has no version '9'"):
            self.client.infer("double", [tensor], model_version="9")

    def test_metrics_are_well_formed(self):
        value = np.array([[1, 2]], np.float32)
        self.echo("FP32", value, True, True)
        with urllib.request.urlopen(f"http://{self.address}/metrics") as answer:
            self.assertEqual(answer.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
            families = {f.name: f for f in text_string_to_metric_families(answer.read().decode())}
        self.assertEqual(families["mizzen_inference_requests"].type, "counter")
        done = [
            s.value
            for s in families["mizzen_inference_requests"].samples
            if s.labels == {"model": "echo_FP32", "version": "1", "status": "200"}
        ]
        self.assertEqual(len(done), 1)
        self.assertGreaterEqual(done[0], 1)
        durations = families["mizzen_inference_duration_seconds"]
        self.assertEqual(durations.type, "histogram")
        mine = [s for s in durations.samples if s.labels.get("model") == "echo_FP32"]
        buckets = [s.value for s in mine if s.name.endswith("_bucket")]
        count = next(s.value for s in mine if s.name.endswith("_count"))
        self.assertEqual(buckets, sorted(buckets))
        self.assertEqual(buckets[-1], count)
        self.assertGreater(families["process_resident_memory_bytes"].samples[0].value, 1e6)
        for name in ("mizzen_requests_in_flight", "mizzen_queue_length", "mizzen_uptime_seconds"):
            self.assertGreaterEqual(families[name].samples[0].value, 0)


if __name__ == "__main__":
    unittest.main(verbosity=1)
