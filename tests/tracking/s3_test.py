"""Artifacts in a real object store, which verifies signatures and checksums: C++ and MLflow (boto3)
each read what the other wrote, directly and through a tracking server that signs URLs.
s3_test.py S3_PROGRAM"""
import base64
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

from mlflow_server import free_port, start_server

PROGRAM = os.path.abspath(sys.argv.pop(1))
HERE = pathlib.Path(__file__).resolve().parent

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
for proxy in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
    os.environ.pop(proxy, None)
for name in list(os.environ):
    if name.startswith("AWS_"):
        del os.environ[name]
KEYS = {"AWS_ACCESS_KEY_ID": "mizzen", "AWS_SECRET_ACCESS_KEY": "not/a+secret", "AWS_DEFAULT_REGION": "us-east-1"}
os.environ.update(KEYS)
# Small enough for a test; S3 allows no smaller part.
PART = 5 << 20
os.environ["MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE"] = str(PART + 1)
os.environ["MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE"] = str(PART)

import boto3
from mlflow import MlflowClient
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository


def start_store(folder, add_cleanup):
    program = subprocess.run([HERE.parent / "s3" / "build.sh"], stdout=subprocess.PIPE, text=True)
    if program.returncode != 0:
        print("SKIPPED: the object store could not be built (see above)")
        sys.exit(77)
    port = free_port()
    log = open(folder / "store.log", "wb")
    add_cleanup(log.close)
    server = subprocess.Popen([program.stdout.strip(), folder / "store", f"127.0.0.1:{port}"],
                              stdout=log, stderr=subprocess.STDOUT)

    def stop():
        server.terminate()
        server.wait(timeout=60)

    add_cleanup(stop)
    url = f"http://127.0.0.1:{port}"
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url + "/health", timeout=5):
                return url
        except OSError:
            pass
        if server.poll() is not None or time.monotonic() > until:
            raise RuntimeError((folder / "store.log").read_text(errors="replace")[-4000:])
        time.sleep(0.05)


class S3Test(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name).resolve()
        cls.endpoint = start_store(cls.folder, cls.addClassCleanup)
        os.environ["MLFLOW_S3_ENDPOINT_URL"] = cls.endpoint
        cls.s3 = boto3.client("s3", endpoint_url=cls.endpoint)
        cls.s3.create_bucket(Bucket="bucket")
        cls.store = f"sqlite:///{cls.folder}/mizzen.db"
        cls.made = cls.folder / "made"
        (cls.made / "deep").mkdir(parents=True)
        cls.big = os.urandom(2 * PART + 12345)
        (cls.made / "big.bin").write_bytes(cls.big)
        (cls.made / "empty").write_bytes(b"")
        (cls.made / "deep" / "a & b <c> ü.txt").write_text("deep")

    def run_cpp(self, *args, **variables):
        environment = {**os.environ, **variables}
        return subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=300,
                              cwd=self.folder, env={k: v for k, v in environment.items() if v is not None})

    def cpp(self, *args, **variables):
        done = self.run_cpp(*args, **variables)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def refusal(self, *args, **variables):
        done = self.run_cpp(*args, **variables)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        return done.stdout.splitlines()[0]

    def tree(self, folder):
        return {str(p.relative_to(folder)): p.read_bytes() for p in pathlib.Path(folder).rglob("*") if p.is_file()}

    def head(self, key):
        return self.s3.head_object(Bucket="bucket", Key=key, ChecksumMode="ENABLED")

    def test_mlflow_reads_what_cpp_wrote(self):
        run = self.cpp("log", self.store, "direct", "s3://bucket/direct", self.made).strip()
        root = f"direct/{run}/artifacts"
        repository = S3ArtifactRepository(f"s3://bucket/{root}")
        self.assertEqual([(f.path, f.is_dir) for f in repository.list_artifacts()], [("made", True), ("notes", True)])
        self.assertEqual([(f.path, f.is_dir, f.file_size) for f in repository.list_artifacts("made")],
                         [("made/big.bin", False, len(self.big)), ("made/deep", True, None), ("made/empty", False, 0)])
        self.assertEqual(self.tree(repository.download_artifacts("")), {
            **{f"made/{name}": data for name, data in self.tree(self.made).items()},
            "notes/odd näme +plus&=.txt": b"hello\n",
        })
        # In parts, with a checksum of the whole; nothing is left half done.
        big = self.head(f"{root}/made/big.bin")
        self.assertTrue(big["ETag"].endswith('-3"'), big["ETag"])
        self.assertEqual(big["ChecksumType"], "FULL_OBJECT")
        self.assertIn("ChecksumCRC32C", big)
        self.assertNotIn("Uploads", self.s3.list_multipart_uploads(Bucket="bucket"))
        small = self.head(f"{root}/made/deep/a & b <c> ü.txt")
        self.assertEqual(small["ChecksumSHA256"], base64.b64encode(hashlib.sha256(b"deep").digest()).decode())
        # And C++ itself.
        self.assertEqual([json.loads(line) for line in self.cpp("list", self.store, run, "made").splitlines()], [
            {"path": "made/big.bin", "dir": False, "size": len(self.big)},
            {"path": "made/deep", "dir": True, "size": 0},
            {"path": "made/empty", "dir": False, "size": 0},
        ])
        got = self.cpp("get", self.store, run, "made", self.folder / "got-own").strip()
        self.assertEqual(self.tree(got), self.tree(self.made))
        self.cpp("delete", self.store, run, "made/deep")
        self.assertEqual([f.path for f in repository.list_artifacts("made")], ["made/big.bin", "made/empty"])
        self.assertEqual(self.refusal("read", self.store, run, "made/deep/none"), "not_found")

    def test_cpp_reads_what_mlflow_wrote(self):
        run = self.cpp("log", self.store, "theirs", "s3://bucket/theirs", self.made / "empty").strip()
        repository = S3ArtifactRepository(f"s3://bucket/theirs/{run}/artifacts")
        repository.log_artifacts(str(self.made), "by python")
        self.assertIn("ChecksumCRC32", self.head(f"theirs/{run}/artifacts/by python/empty"))
        got = self.cpp("get", self.store, run, "by python", self.folder / "got-theirs").strip()
        self.assertEqual(self.tree(got), self.tree(self.made))
        self.assertEqual(self.cpp("read", self.store, run, "by python/deep/a & b <c> ü.txt"), "deep")
        # More than one page.
        many = self.folder / "store" / "buckets" / "bucket" / "theirs" / run / "artifacts" / "many"
        many.mkdir()
        for i in range(1005):
            (many / f"{i:04}").write_text(str(i))
        listed = self.cpp("list", self.store, run, "many").splitlines()
        self.assertEqual([json.loads(line)["path"] for line in listed], [f"many/{i:04}" for i in range(1005)])

    def test_a_bucket_before_the_host(self):
        # The store is its own proxy: no name has to be resolved.
        virtual = {"MLFLOW_S3_ENDPOINT_URL": "http://s3.test", "http_proxy": self.endpoint,
                   "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "virtual"}
        run = self.cpp("log", self.store, "virtual", "s3://bucket/virtual", self.made / "empty", **virtual).strip()
        self.assertEqual(self.cpp("read", self.store, run, "notes/odd näme +plus&=.txt", **virtual), "hello\n")
        self.assertEqual(self.head(f"virtual/{run}/artifacts/empty")["ContentLength"], 0)
        self.assertEqual(len(self.cpp("list", self.store, run, **virtual).splitlines()), 2)

    def test_refusals(self):
        log = ("log", self.store)
        self.assertEqual(
            self.refusal(*log, "denied", "s3://bucket/denied", self.made, AWS_SECRET_ACCESS_KEY="wrong"),
            "unauthenticated")
        self.assertEqual(self.refusal(*log, "no bucket", "s3://none/at/all", self.made), "not_found")
        self.assertEqual(
            self.refusal(*log, "no keys", "s3://bucket/x", self.made, HOME=str(self.folder), AWS_ACCESS_KEY_ID=None),
            "unauthenticated")
        self.assertEqual(
            self.refusal(*log, "no store", "s3://bucket/x", self.made, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
                         MLFLOW_S3_ENDPOINT_URL="http://127.0.0.1:1"),
            "unavailable")

    def test_through_a_server_that_signs_urls(self):
        uri = start_server(self.folder, f"sqlite:///{self.folder}/mlflow.db", self.addCleanup,
                           "--artifacts-destination", "s3://bucket/proxied")
        said = self.folder / "server.log"
        # Whoever has no keys: parts go to URLs that the server signs, and come from such.
        without = {name: None for name in KEYS}
        without["MLFLOW_S3_ENDPOINT_URL"] = None
        client = MlflowClient(uri)
        made = client.create_experiment("proxied", artifact_location="mlflow-artifacts:/deep")
        run = self.cpp("log", uri, "proxied", "", self.made, **without).strip()
        self.assertEqual(client.get_run(run).info.artifact_uri, f"mlflow-artifacts:/deep/{run}/artifacts")
        self.assertEqual(client.get_experiment(made).name, "proxied")
        root = f"proxied/deep/{run}/artifacts"
        self.assertTrue(self.head(f"{root}/made/big.bin")["ETag"].endswith('-3"'))
        got = client.download_artifacts(run, "made", str(self.folder))
        self.assertEqual(self.tree(got), self.tree(self.made))
        got = self.cpp("get", uri, run, "made", self.folder / "got-signed", **without).strip()
        self.assertEqual(self.tree(got), self.tree(self.made))
        self.assertEqual(self.cpp("read", uri, run, "notes/odd näme +plus&=.txt", **without), "hello\n")
        self.assertEqual(self.refusal("read", uri, run, "none", **without), "not_found")
        self.cpp("delete", uri, run, "made", **without)
        self.assertEqual([f.path for f in client.list_artifacts(run)], ["notes"])
        text = said.read_text(errors="replace")
        self.assertIn("/mlflow-artifacts/mpu/complete/", text)
        self.assertIn("/mlflow-artifacts/presigned/", text)
        # A location that the server hands out for what it is.
        run = self.cpp("log", uri, "own", "s3://bucket/own", self.made / "empty").strip()
        self.assertEqual(client.get_run(run).info.artifact_uri, f"s3://bucket/own/{run}/artifacts")
        self.assertEqual([f.path for f in client.list_artifacts(run)], ["empty", "notes"])


if __name__ == "__main__":
    unittest.main()
