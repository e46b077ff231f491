"""A real process gets a real signal: what is in flight is answered, nothing new is accepted, and it
exits with 0; past its drain timeout, or told twice, it gives up and exits with 1."""

import json
import signal
import socket
import sys
import threading
import time
import unittest
import urllib.request

import harness

PROGRAM = sys.argv.pop(1)


def sleep_request(milliseconds):
    body = {"inputs": [{"name": "ms", "datatype": "INT32", "shape": [1], "data": [milliseconds]}]}
    return json.dumps(body).encode()


class InFlight(threading.Thread):
    """An inference request that takes a while, on a connection of its own."""

    def __init__(self, address, milliseconds):
        super().__init__()
        self.url = f"http://{address}/v2/models/sleep/infer"
        self.body = sleep_request(milliseconds)
        self.status = None
        self.start()

    def run(self):
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url, self.body)) as answer:
                self.status = answer.status
        except OSError as failure:
            self.status = failure


def wait_until_running(address):
    for _ in range(3000):
        with urllib.request.urlopen(f"http://{address}/metrics") as answer:
            if b"mizzen_inferences_running 1\n" in answer.read():
                return
        time.sleep(0.01)
    raise AssertionError("the request never ran")


def refuses(address):
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
        return False
    except ConnectionRefusedError:
        return True


class SignalTest(unittest.TestCase):
    def drain_with(self, which):
        with harness.running(PROGRAM) as (process, address):
            request = InFlight(address, 1500)
            wait_until_running(address)
            process.send_signal(which)
            for _ in range(1000):
                if refuses(address):
                    break
                time.sleep(0.01)
            else:
                self.fail("still accepts connections")
            request.join(60)
            self.assertEqual(request.status, 200)
            self.assertEqual(process.wait(60), 0)

    def test_sigterm(self):
        self.drain_with(signal.SIGTERM)

    def test_sigint(self):
        self.drain_with(signal.SIGINT)

    def test_idle_keep_alive_connections_do_not_hold_it_up(self):
        with harness.running(PROGRAM) as (process, address):
            host, port = address.split(":")
            with socket.create_connection((host, int(port))) as idle:
                idle.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: h\r\n\r\n")
                self.assertIn(b"200 OK", idle.recv(4096))
                process.send_signal(signal.SIGTERM)
                self.assertEqual(process.wait(60), 0)
                self.assertEqual(idle.recv(4096), b"")

    def test_past_the_drain_timeout(self):
        with harness.running(PROGRAM, "50") as (process, address):
            request = InFlight(address, 1500)
            wait_until_running(address)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(60), 1)
            request.join(60)
            self.assertIsInstance(request.status, OSError)

    def test_second_signal(self):
        with harness.running(PROGRAM) as (process, address):
            request = InFlight(address, 3000)
            wait_until_running(address)
            process.send_signal(signal.SIGTERM)
            while not refuses(address):
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(60), 1)
            request.join(60)


if __name__ == "__main__":
    unittest.main(verbosity=1)
