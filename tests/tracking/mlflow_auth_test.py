"""Who may call a tracking server, and how it is reached: MLflow's own user accounts, a certificate of a private
authority, a proxy, a gateway that wants a token and a client's certificate:
mlflow_auth_test.py REST_PROGRAM SURFACE_PROGRAM"""
import base64
import datetime
import http.client
import http.server
import ipaddress
import json
import os
import pathlib
import select
import socket
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.request

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mlflow_server import start_server

PROGRAM = os.path.abspath(sys.argv.pop(1))
SURFACE = os.path.abspath(sys.argv.pop(1))
ADMIN = ("admin", "a long admin password")
BOB = ("bob", "a password: of bob!")
# MLflow 3.17 reads no password beyond ASCII where spans and artifacts go; elsewhere it does.
CAROL = ("carol", "pässwörd of carol")

for name in [n for n in os.environ if n.lower().endswith("_proxy") or n.startswith("MLFLOW_TRACKING_")]:
    del os.environ[name]
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Authority:
    """A private certificate authority, and what it issues, as PEM files."""

    def __init__(self, folder):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a private authority")])
        made = self.build(self.name, self.key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        ).add_extension(
            x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True
        )
        self.file = folder / "ca.pem"
        self.file.write_bytes(made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def build(self, subject, public_key):
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=7))
        )

    def issue(self, name, usage):
        key = ec.generate_private_key(ec.SECP256R1())
        made = self.build(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key.public_key()).add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        ).add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        file = self.folder / f"{name}.pem"
        file.write_bytes(
            made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                serialization.NoEncryption())
        )
        return file


class Tunnels(socketserver.ThreadingTCPServer):
    """A proxy that knows CONNECT only, and wants a password."""

    daemon_threads = True
    wanted = basic("proxy", "pass")

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Tunnel)
        self.opened = []
        self.refused = 0


class Tunnel(socketserver.StreamRequestHandler):
    def handle(self):
        target = self.rfile.readline().decode().split()[1]
        headers = http.client.parse_headers(self.rfile)
        if headers.get("Proxy-Authorization") != self.server.wanted:
            self.server.refused += 1
            self.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        self.server.opened.append(target)
        host, port = target.rsplit(":", 1)
        with socket.create_connection((host, int(port))) as far:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            pair = {self.connection: far, far: self.connection}
            while True:
                for ready in select.select(list(pair), [], [])[0]:
                    try:
                        data = ready.recv(65536)
                    except OSError:
                        return
                    if not data:
                        return
                    pair[ready].sendall(data)


class Gateway(http.server.BaseHTTPRequestHandler):
    """Lets in who has the token, as the user that it stands for."""

    protocol_version = "HTTP/1.1"

    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != "Bearer t0ken":
            return self.answer(401, b'{"error_code": "UNAUTHENTICATED", "message": "no such token"}')
        request = urllib.request.Request(
            self.server.upstream + self.path, data=body or None, method=self.command,
            headers={"Authorization": basic(*BOB), "Content-Type": self.headers.get("Content-Type", "text/plain")},
        )
        try:
            with urllib.request.urlopen(request, context=self.server.trust) as got:
                self.answer(got.status, got.read())
        except urllib.error.HTTPError as e:
            self.answer(e.code, e.read())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_DELETE = serve

    def log_message(self, *args):
        pass


class AuthTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name).resolve()
        cls.authority = Authority(cls.folder)
        certificate = cls.authority.issue("server", ExtendedKeyUsageOID.SERVER_AUTH)
        cls.client_certificate = cls.authority.issue("client", ExtendedKeyUsageOID.CLIENT_AUTH)
        cls.trust = ssl.create_default_context(cafile=cls.authority.file)
        settings = cls.folder / "auth.ini"
        settings.write_text(
            "[mlflow]\ndefault_permission = READ\nadmin_username = admin\n"
            f"database_uri = sqlite:///{cls.folder}/auth.db\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        )
        cls.uri = start_server(
            cls.folder, f"sqlite:///{cls.folder}/mlflow.db", cls.addClassCleanup,
            "--artifacts-destination", str(cls.folder / "artifacts"), "--app-name", "basic-auth",
            "--uvicorn-opts", f"--ssl-certfile {certificate} --ssl-keyfile {certificate}",
            env={"MLFLOW_AUTH_CONFIG_PATH": str(settings), "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
                 "MLFLOW_FLASK_SERVER_SECRET_KEY": "of this test"},
            tls=cls.trust,
        )
        for name, password in (BOB, CAROL):
            cls.post("users/create", {"username": name, "password": password})
        cls.experiment = cls.post("experiments/create", {"name": "the admin's"})["experiment_id"]

        cls.proxy = cls.served(Tunnels())
        cls.gateway = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
        cls.gateway.upstream, cls.gateway.trust = cls.uri, cls.trust
        cls.gateway.handle_error = lambda *_: None  # clients without a certificate
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.load_verify_locations(cls.authority.file)
        context.verify_mode = ssl.CERT_REQUIRED
        cls.gateway.socket = context.wrap_socket(cls.gateway.socket, server_side=True, do_handshake_on_connect=False)
        cls.served(cls.gateway)

    @classmethod
    def served(cls, server):
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cls.addClassCleanup(server.server_close)
        cls.addClassCleanup(server.shutdown)
        return server

    @classmethod
    def post(cls, path, body):
        request = urllib.request.Request(
            f"{cls.uri}/api/2.0/mlflow/{path}", data=json.dumps(body).encode(),
            headers={"Authorization": basic(*ADMIN), "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, context=cls.trust) as answer:
            return json.load(answer)

    def run_it(self, program, *args, user=None, trust=True, home="/nonexistent", **env):
        """A program in an environment of its own, as a user, trusting the authority."""
        env = {"PATH": os.environ["PATH"], "HOME": str(home), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", **env}
        if user:
            env |= {"MLFLOW_TRACKING_USERNAME": user[0], "MLFLOW_TRACKING_PASSWORD": user[1]}
        if trust:
            env["MLFLOW_TRACKING_SERVER_CERT_PATH"] = str(self.authority.file)
        return subprocess.run(
            [program, *map(str, args)], capture_output=True, text=True, timeout=300, cwd=self.folder, env=env
        )

    def call(self, uri=None, **how):
        done = self.run_it(PROGRAM, "call", uri or self.uri, **how)
        return (done.stdout or done.stderr).strip()

    def test_password(self):
        self.assertEqual(self.call(user=BOB), "ok")
        self.assertEqual(self.call(user=CAROL), "ok")
        for how in ({}, {"user": (BOB[0], "wrong")}, {"user": ("nobody", "x")}):
            with self.subTest(how):
                said = self.call(**how)
                self.assertRegex(said, "^unauthenticated GET|^unauthenticated POST")
                self.assertIn("MLFLOW_TRACKING_USERNAME", said)
                self.assertNotIn("wrong", said)
        quoted = urllib.request.quote(BOB[1])
        self.assertEqual(self.call(self.uri.replace("https://", f"https://bob:{quoted}@")), "ok")
        home = self.folder / "home"
        (home / ".mlflow").mkdir(parents=True)
        (home / ".mlflow/credentials").write_text("[mlflow]\nmlflow_tracking_username = bob\n"
                                                  f"mlflow_tracking_password = {BOB[1]}\n")
        self.assertEqual(self.call(home=home), "ok")

    def test_permissions(self):
        done = self.run_it(SURFACE, "models", self.uri, self.experiment, "", user=BOB)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "^permission_denied POST .*403")
        done = self.run_it(SURFACE, "trace", self.uri, "of bob ", user=BOB)
        self.assertEqual(done.returncode, 0, done.stderr)
        made = json.loads(done.stdout)
        self.assertEqual(self.run_it(SURFACE, "read", self.uri, made["answer"], user=BOB).returncode, 0)

    def test_private_authority(self):
        said = self.call(user=BOB, trust=False)
        self.assertNotEqual(said, "ok")
        self.assertRegex(said, "^unauthenticated .*the certificate did not verify")
        self.assertEqual(self.call(user=BOB, trust=False, MLFLOW_TRACKING_INSECURE_TLS="true"), "ok")
        both = self.call(user=BOB, MLFLOW_TRACKING_INSECURE_TLS="true")
        self.assertIn("MLFLOW_TRACKING_INSECURE_TLS", both)
        # The certificate is for 127.0.0.1 only.
        said = self.call(self.uri.replace("127.0.0.1", "localhost"), user=BOB)
        self.assertNotEqual(said, "ok")
        said = self.call(self.uri, user=BOB, trust=False, MLFLOW_TRACKING_SERVER_CERT_PATH="/nonexistent.pem")
        self.assertIn("/nonexistent.pem", said)

    def test_proxy(self):
        proxy = f"http://proxy:pass@127.0.0.1:{self.proxy.server_address[1]}"
        before = len(self.proxy.opened)
        self.assertEqual(self.call(user=BOB, HTTPS_PROXY=proxy), "ok")
        self.assertEqual(self.proxy.opened[before:], [self.uri.removeprefix("https://")])
        self.assertEqual(self.call(user=BOB, HTTPS_PROXY=proxy, NO_PROXY="127.0.0.1"), "ok")
        self.assertEqual(len(self.proxy.opened), before + 1)
        said = self.call(user=BOB, HTTPS_PROXY=proxy.replace("pass@", "wr0ng@"))
        self.assertIn("407", said)
        self.assertNotIn("wr0ng", said)
        self.assertEqual(self.proxy.refused, 1)

    def test_everything_through_a_proxy(self):
        proxy = f"http://proxy:pass@127.0.0.1:{self.proxy.server_address[1]}"
        done = self.run_it(PROGRAM, "write", self.uri, user=BOB, HTTPS_PROXY=proxy)
        self.assertEqual(done.returncode, 0, done.stderr)
        facts = json.loads(done.stdout)
        # Read back by MLflow's client, as the same user.
        read = self.run_it(
            sys.executable, "-c",
            "import sys, mlflow; r = mlflow.MlflowClient(sys.argv[1]).get_run(sys.argv[2]);"
            "print(r.info.status, len(r.data.params), r.data.metrics['loss'])",
            self.uri, facts["parent"], user=BOB,
        )
        self.assertEqual(read.stdout.split(), ["FINISHED", "251", "0.02"], read.stderr)

    def test_token_and_client_certificate(self):
        uri = f"https://127.0.0.1:{self.gateway.server_address[1]}"
        certificate = {"MLFLOW_TRACKING_CLIENT_CERT_PATH": str(self.client_certificate)}
        self.assertEqual(self.call(uri, MLFLOW_TRACKING_TOKEN="t0ken", **certificate), "ok")
        said = self.call(uri, MLFLOW_TRACKING_TOKEN="other", **certificate)
        self.assertRegex(said, "^unauthenticated .*no such token")
        self.assertNotIn("other", said)
        self.assertNotEqual(self.call(uri, MLFLOW_TRACKING_TOKEN="t0ken"), "ok")
        # A password comes before a token.
        said = self.call(uri, user=BOB, MLFLOW_TRACKING_TOKEN="t0ken", **certificate)
        self.assertRegex(said, "^unauthenticated")


if __name__ == "__main__":
    unittest.main(verbosity=2)
