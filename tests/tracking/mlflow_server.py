"""Starts MLflow's own server for a test, and ends it."""
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request

START_SECONDS = 300


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_server(
    folder: pathlib.Path, store_uri: str, add_cleanup, *options: str, port=None, on_start=None, env=None, tls=None
) -> str:
    """The URL of a server on that store, once it answers; its log is server.log in the folder.

    One worker; it takes from seconds to more than a minute to start. add_cleanup is told how to end it, on_start
    the id of its process group. env: added to its environment. tls: an ssl.SSLContext that trusts it, if the
    options make it speak HTTPS.
    """
    port = port or free_port()
    log = open(folder / "server.log", "wb")
    add_cleanup(log.close)
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store_uri, *options, "--workers", "1",
         "--host", "127.0.0.1", "--port", str(port)],
        stdout=log, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
             **(env or {})},
    )

    if on_start:
        on_start(server.pid)

    def stop():
        # The process group that was started here, and nothing else.
        for how in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(server.pid, how)
            except ProcessLookupError:
                break
            try:
                server.wait(timeout=20)
            except subprocess.TimeoutExpired:
                continue
            time.sleep(1)

    add_cleanup(stop)
    url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url + "/health", timeout=5, context=tls) as answer:
                if answer.status == 200:
                    return url
        except OSError:
            pass
        said = (folder / "server.log").read_text(errors="replace")
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with {server.returncode}:\n{said[-4000:]}")
        if time.monotonic() > until:
            raise RuntimeError(f"the server did not answer in {START_SECONDS} s:\n{said[-4000:]}")
        time.sleep(0.5)
