"""An HTTP proxy in front of one server that does what networks, gateways and servers do on bad days."""
import collections
import http.client
import random
import socket
import struct
import threading
import time

# What may befall a request, and how often of 1,000; all else is passed on.
FAULTS = {
    "cut before": 40,        # closed, the server never saw it
    "cut after": 60,         # the server has acted, its answer is lost
    "cut within": 30,        # half of the answer
    "refused 500": 20,
    "refused 502": 20,       # a page of a gateway's, which is not the server's
    "refused 503": 20,       # with Retry-After
    "refused 429": 20,       # with Retry-After
    "refused 404": 20,       # a gateway that does not know the server any more
    "failed after": 30,      # the server has acted, and 500 is said
    "silent before": 8,      # nothing, until the client gives up
    "silent after": 8,       # the server has acted; then nothing
    "twice": 50,             # the server gets it twice
    "twice, later": 40,      # once more after the answer
    "after all": 8,          # once the client has given up
    "answered twice": 30,    # two answers in one go; what follows on the connection is not read
}
# Only for what commutes: a tag that comes late overwrites a newer one, and no client can help it.
LATE = {"twice, later", "after all"}
PAGES = {404: "404 page not found", 502: "<html><h1>502 Bad Gateway</h1></html>"}
REPEATED_BY_CLIENT = {"Connection", "Keep-Alive", "Transfer-Encoding", "Content-Length"}


def answer(status, body, headers=()):
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in headers)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class FaultProxy:
    """Listens on a free port of the loopback (self.url) from start to close; faulty while `faulty` is set.

    faults: those of FAULTS that befall requests. may_be_late(method, path, body): whether a request may reach the server again later on.
    """

    def __init__(self, target_port, seed, faults=tuple(FAULTS), may_be_late=lambda method, path, body: False):
        self.target_port = target_port
        self.faults = {name: FAULTS[name] for name in faults}
        self.random = random.Random(seed)
        self.may_be_late = may_be_late
        self.faulty = True
        self.counts = collections.Counter()
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.late = []
        threading.Thread(target=self.serve, daemon=True).start()

    def close(self):
        self.listener.close()

    def wait_for_late(self):
        """Until every request that was held back has reached the server."""
        while self.late:
            self.late.pop().join()

    def serve(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.converse, args=(peer,), daemon=True).start()

    def choose(self, request):
        with self.lock:
            fault = "passed"
            if self.faulty:
                at = self.random.randrange(1000)
                for name, share in self.faults.items():
                    if at < share:
                        fault = name
                        break
                    at -= share
                if fault in LATE and not self.may_be_late(request[0], request[1], request[3]):
                    fault = "twice"
            self.counts[fault] += 1
            return fault

    def converse(self, peer):
        try:
            with peer, peer.makefile("rb") as stream:
                while True:
                    request = read_request(stream)
                    if request is None or not self.respond(peer, request):
                        return
        except OSError:
            pass

    def respond(self, peer, request):
        """Whether the connection can be used again."""
        fault = self.choose(request)
        if fault == "cut before":
            return abort(peer)
        if fault.startswith("refused"):
            status = int(fault[-3:])
            headers = [("Retry-After", "1")] if status in (429, 503) else []
            peer.sendall(answer(status, PAGES.get(status, "").encode(), headers))
            return True
        if fault == "silent before":
            return until_gone(peer)
        if fault == "after all":
            until_gone(peer)
            self.forward(request)
            return False
        try:
            reply = self.forward(request)
            if fault == "twice":
                reply = self.forward(request)
        except (OSError, http.client.HTTPException):
            with self.lock:
                self.counts["server away"] += 1
                kind = self.random.randrange(2)
            if kind == 0:
                return abort(peer)
            peer.sendall(answer(502, PAGES[502].encode()))
            return True
        if fault == "cut after":
            return abort(peer)
        if fault == "cut within":
            peer.sendall(reply[: len(reply) // 2])
            return abort(peer)
        if fault == "failed after":
            peer.sendall(answer(500, b'{"error_code": "INTERNAL_ERROR", "message": "made up"}'))
            return True
        if fault == "silent after":
            return until_gone(peer)
        if fault == "answered twice":
            peer.sendall(reply + reply)
            return until_gone(peer)
        peer.sendall(reply)
        if fault == "twice, later":
            later = threading.Thread(target=self.forward_late, args=(request,), daemon=True)
            self.late.append(later)
            later.start()
        return True

    def forward_late(self, request):
        with self.lock:
            wait = self.random.random()
        time.sleep(wait)
        try:
            self.forward(request)
        except (OSError, http.client.HTTPException):
            pass

    def forward(self, request):
        method, path, headers, body = request
        server = http.client.HTTPConnection("127.0.0.1", self.target_port, timeout=300)
        try:
            server.request(method, path, body or None, {k: v for k, v in headers if k not in REPEATED_BY_CLIENT})
            got = server.getresponse()
            text = got.read()
        finally:
            server.close()
        return answer(got.status, text, [(k, v) for k, v in got.getheaders() if k not in REPEATED_BY_CLIENT])


def read_request(stream):
    """(method, path, headers, body), or None at the end."""
    first = stream.readline().split()
    if len(first) != 3:
        return None
    headers = []
    while line := stream.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers.append((name.strip(), value.strip()))
    length = next((int(v) for k, v in headers if k.lower() == "content-length"), 0)
    body = stream.read(length)
    if len(body) < length:
        return None
    return first[0].decode(), first[1].decode(), headers, body


def abort(peer):
    """Closes by a reset."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def until_gone(peer):
    """Waits until the client closes, whatever it sends."""
    peer.settimeout(60)
    while peer.recv(65536):
        pass
    return False
