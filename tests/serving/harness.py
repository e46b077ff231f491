"""Starts the test server for a Python test and ends it."""

import contextlib
import signal
import subprocess


@contextlib.contextmanager
def running(program, *arguments):
    """Yields (process, "127.0.0.1:port"); ends the server with SIGTERM if it still runs."""
    process = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), f"the server said {url!r}"
        yield process, url.removeprefix("http://")
    finally:
        process.stdout.close()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
