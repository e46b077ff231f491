"""Artifacts in a real object store, which verifies signatures and checksums: C++ and MLflow (boto3)
each read what the other wrote, directly and through a tracking server that signs URLs.
s3_test.py S3_PROGRAM"""
import base64
import hashlib
import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
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


class CuttingProxy:
    """Forwards connections to the store and cuts each, one way or another:
    while the request is sent, when the answer to it begins, while that is sent, or much later."""

    def __init__(self, target):
        self.target = target
        self.cuts = 0
        self.seen = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def close(self):
        self.listener.close()

    def serve(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            store = socket.create_connection(self.target)
            # Bytes to the store and from it until the end.
            much = 6_000_000
            limits = ((700_000, much), (much, 0), (much, much), (much, 700_000))[self.seen % 4]
            self.seen += 1
            for source, sink, most in ((peer, store, limits[0]), (store, peer, limits[1])):
                threading.Thread(target=self.forward, args=(source, sink, most), daemon=True).start()

    def forward(self, source, sink, most):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                if len(data) > most:
                    with self.lock:
                        self.cuts += 1
                    break
                most -= len(data)
                sink.sendall(data)
        except OSError:
            pass
        # Wakes the thread of the other direction, which closes its end; what is unread makes it a reset.
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        source.close()


def start_store(folder, add_cleanup, *certificate):
    program = subprocess.run([HERE.parent / "s3" / "build.sh"], stdout=subprocess.PIPE, text=True)
    if program.returncode != 0:
        print("SKIPPED: the object store could not be built (see above)")
        sys.exit(77)
    port = free_port()
    log = open(folder / "store.log", "wb")
    add_cleanup(log.close)
    server = subprocess.Popen([program.stdout.strip(), folder / "store", f"127.0.0.1:{port}", *certificate],
                              stdout=log, stderr=subprocess.STDOUT)

    def stop():
        server.terminate()
        server.wait(timeout=60)

    add_cleanup(stop)
    url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url + "/health", timeout=5, context=ssl._create_unverified_context()):
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

    def test_a_network_that_breaks(self):
        host, port = self.endpoint.removeprefix("http://").split(":")
        proxy = CuttingProxy((host, int(port)))
        self.addCleanup(proxy.close)
        broken = {"MLFLOW_S3_ENDPOINT_URL": proxy.url, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "10",
                  "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0", "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0"}
        run = self.cpp("log", self.store, "broken", "s3://bucket/broken", self.made, **broken).strip()
        cuts = proxy.cuts
        self.assertGreater(cuts, 2)
        keys = self.s3.list_objects_v2(Bucket="bucket", Prefix=f"broken/{run}/")["KeyCount"]
        self.assertEqual(keys, 4)
        got = self.cpp("get", self.store, run, "made", self.folder / "got-broken", **broken).strip()
        self.assertEqual(self.tree(got), self.tree(self.made))
        self.assertGreater(proxy.cuts, cuts)

    def test_tls_with_an_authority_of_ones_own(self):
        folder = self.folder / "tls"
        folder.mkdir()
        certificate, key = folder / "certificate.pem", folder / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-days", "2", "-subj", "/CN=store", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", key, "-out", certificate], check=True, capture_output=True)
        endpoint = start_store(folder, self.addCleanup, certificate, key)
        own = {"MLFLOW_S3_ENDPOINT_URL": endpoint, "AWS_CA_BUNDLE": str(certificate)}
        boto3.client("s3", endpoint_url=endpoint, verify=str(certificate)).create_bucket(Bucket="safe")
        run = self.cpp("log", self.store, "safe", "s3://safe/x", self.made, **own).strip()
        got = self.cpp("get", self.store, run, "made", folder / "got", **own).strip()
        self.assertEqual(self.tree(got), self.tree(self.made))
        stranger = {**own, "AWS_CA_BUNDLE": None, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
        self.assertEqual(self.refusal("list", self.store, run, **stranger), "unauthenticated")
        self.cpp("list", self.store, run, MLFLOW_S3_IGNORE_TLS="true", **stranger)

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
