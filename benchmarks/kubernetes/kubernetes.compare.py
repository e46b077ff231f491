#!/usr/bin/env python3
# venv: kubernetes
"""Mizzen's Kubernetes client against client-go (JSON and protobuf) and the official Python client.

All of them talk to one API server with etcd behind it on this machine (tests/cluster, without
controllers), take turns on the same work, and have no limit of requests per second of their own.
"bytes only" is curl, which decodes nothing: what the server itself takes.

usage: kubernetes.compare.py BUILD_FOLDER RESULT_FILE [OPTIONS]    (benchmarks/run.sh calls it)
"""
import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from record import Records

HERE = pathlib.Path(__file__).resolve().parent
CLUSTER = HERE.parent.parent / "tests" / "cluster"
NAMESPACE = "bench"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("result")
    only = ("list", "first", "create", "watch", "cache")
    # By the environment too, as benchmarks/run.sh passes no options.
    setting = lambda name, default: os.environ.get(f"MIZZEN_BENCH_{name}", default)
    parser.add_argument("--pods", type=int, default=int(setting("PODS", "10000")), help="pods of a list")
    parser.add_argument("--cache", default=setting("CACHE", "10000,100000"), help="pods of an informer's cache")
    parser.add_argument("--rounds", type=int, default=int(setting("ROUNDS", "7")))
    parser.add_argument("--creates", type=int, default=int(setting("CREATES", "500")))
    parser.add_argument("--events", type=int, default=int(setting("EVENTS", "300")))
    parser.add_argument("--only", nargs="*", choices=only, default=setting("ONLY", " ".join(only)).split())
    return parser.parse_args()


def build_client_go() -> tuple[str, str]:
    """The peer's program, and its version."""
    folder = HERE / "client-go"
    digest = hashlib.sha256(b"".join((folder / name).read_bytes() for name in ("main.go", "go.mod", "go.sum")))
    cache = pathlib.Path(os.environ.get("MIZZEN_CACHE", pathlib.Path.home() / ".cache" / "mizzen"))
    program = cache / "benchmarks" / f"client-go-{digest.hexdigest()[:12]}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        go = subprocess.check_output([CLUSTER / "toolchain.sh"], text=True).strip()
        environment = {**os.environ, "PATH": f"{go}:{os.environ['PATH']}", "CGO_ENABLED": "0"}
        subprocess.run(["go", "build", "-trimpath", "-buildvcs=false", "-o", f"{program}.new", "."],
                       cwd=folder, env=environment, check=True)
        os.rename(f"{program}.new", program)
    version = next(line.split()[1] for line in (folder / "go.mod").read_text().splitlines() if "k8s.io/client-go" in line)
    return str(program), version


class Peer:
    """A program that answers each line by one of JSON."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name, self.command = name, command

    def open(self) -> "Peer":
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def close(self) -> None:
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()

    def tell(self, *words: object) -> None:
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} has ended")
        return json.loads(line)

    def ask(self, *words: object) -> dict:
        self.tell(*words)
        return self.hear()

    def memory(self) -> tuple[float, float]:
        """Resident memory now and at its peak, MiB."""
        fields = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines())
        return tuple(int(fields[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM"))

    def first(self) -> float:
        """Seconds from the start of the process to the first object."""
        start = time.perf_counter()
        process = subprocess.Popen(self.command + [self.first_flag, NAMESPACE], stdout=subprocess.PIPE, text=True)
        line = process.stdout.readline()
        took = time.perf_counter() - start
        process.wait()
        if not line.startswith("trainer-"):
            sys.exit(f"{self.name}: no first object")
        return took

    @property
    def first_flag(self) -> str:
        return "--first"


@contextlib.contextmanager
def opened(*peers: Peer) -> Iterator[list[Peer]]:
    try:
        yield [peer.open() for peer in peers]
    finally:
        for peer in peers:
            if hasattr(peer, "process"):
                peer.close()


def turns(peers: list, rounds: int, skip: dict) -> Iterator:
    """Each peer once a round, in changing order; one named in `skip` only in the first so many rounds."""
    for number in range(rounds):
        for peer in peers[number % len(peers):] + peers[:number % len(peers)]:
            if number < skip.get(peer.name, rounds):
                yield peer


class Bench:
    def __init__(self, options: argparse.Namespace, records: Records) -> None:
        self.options, self.records = options, records
        mizzen = f"{options.build}/benchmarks/kubernetes/mizzen_kubernetes_peer"
        go, version = build_client_go()
        import importlib.metadata
        self.go_json = Peer(f"client-go {version}, JSON", [go])
        self.go_protobuf = Peer(f"client-go {version}, protobuf", [go, "-encoding", "protobuf"])
        self.python = Peer(f"Python client {importlib.metadata.version('kubernetes')}", [sys.executable, str(HERE / "python_peer.py")])
        self.json = Peer("Mizzen, JSON", [mizzen, "--encoding", "json"])
        self.protobuf = Peer("Mizzen, protobuf", [mizzen])
        self.go_gzip = Peer(f"client-go {version}, JSON", [go, "-gzip"])
        self.gzip = Peer("Mizzen, JSON, gzip", [mizzen, "--encoding", "json", "--gzip"])
        # Who is compared with whom: like with like, and Mizzen as it is by default with the others.
        self.pairs = [(self.protobuf, self.go_protobuf), (self.json, self.go_json), (self.json, self.python)]
        self.all = [self.protobuf, self.go_protobuf, self.json, self.go_json, self.python]
        self.seeded = 0

    def seed(self, count: int) -> None:
        """Pods up to a number; with many connections, as one is bound by the server's answer."""
        if self.seeded >= count:
            return
        with opened(Peer("seed", self.go_protobuf.command)) as (peer,):
            took = peer.ask("seed", NAMESPACE, self.seeded, count, 64)["seconds"]
        print(f"{count - self.seeded} pods made in {took:.0f} s", flush=True)
        self.seeded = count

    def encoding(self, peer: Peer) -> str:
        return "protobuf" if "protobuf" in peer.name else "JSON"

    def add(self, case: str, mizzen: Peer, ours: list[float], peer: str, theirs: list[float], unit: str, scale: float) -> None:
        self.records.add_times(f"{case}, {self.encoding(mizzen)}", unit, ours, peer, theirs, scale)

    def list(self) -> None:
        count = self.options.pods
        self.seed(count)
        with opened(*self.all, self.gzip, self.go_gzip) as peers:
            times: dict[int, list[float]] = {id(peer): [] for peer in peers}
            cpu: dict[int, list[float]] = {id(peer): [] for peer in peers}
            bare: dict[str, list[float]] = {"JSON": [], "protobuf": []}
            for peer in peers:
                peer.ask("list", NAMESPACE)  # connected and warm
            for number, peer in enumerate(turns(peers, self.options.rounds, {self.python.name: 3})):
                answer = peer.ask("list", NAMESPACE)
                assert answer["items"] == count, f"{peer.name}: {answer}"
                times[id(peer)].append(answer["seconds"])
                cpu[id(peer)].append(answer["cpu"])
                if number % len(peers) == 0:
                    for kind, media in (("JSON", "application/json"), ("protobuf", "application/vnd.kubernetes.protobuf")):
                        bare[kind].append(self.curl(f"/api/v1/namespaces/{NAMESPACE}/pods", media))
        for ours, theirs in self.pairs + [(self.gzip, self.go_gzip)]:
            case = f"list {count:,} pods" + (", gzip" if ours is self.gzip else "")
            self.add(case, ours, times[id(ours)], theirs.name, times[id(theirs)], "ms", 1e3)
            self.records.add(f"{case}, {self.encoding(ours)}", "client's CPU", "ms",
                             statistics.median(cpu[id(ours)]) * 1e3, theirs.name, statistics.median(cpu[id(theirs)]) * 1e3)
        for ours in (self.protobuf, self.json):
            self.add(f"list {count:,} pods", ours, times[id(ours)], "bytes only (curl)", bare[self.encoding(ours)], "ms", 1e3)

    def curl(self, path: str, media: str) -> float:
        output = subprocess.check_output([
            "curl", "-sf", "-o", "/dev/null", "-w", "%{time_total}", "--cacert", os.environ["MIZZEN_CLUSTER_CA"],
            "-H", f"Authorization: Bearer {os.environ['MIZZEN_CLUSTER_ADMIN_TOKEN']}", "-H", f"Accept: {media}",
            os.environ["MIZZEN_CLUSTER_API"] + path])
        return float(output)

    def first(self) -> None:
        self.seed(100)
        times: dict[str, list[float]] = {peer.name: [] for peer in self.all}
        for peer in self.all:
            peer.first()
        for peer in turns(self.all, self.options.rounds * 3, {self.python.name: 5}):
            times[peer.name].append(peer.first())
        for ours, theirs in self.pairs:
            self.add("first object from cold start", ours, times[ours.name], theirs.name, times[theirs.name], "ms", 1e3)

    def create(self) -> None:
        for workers in (1, 16):
            count = self.options.creates * (1 if workers == 1 else 2)
            rates: dict[str, list[float]] = {peer.name: [] for peer in self.all}
            with opened(*self.all) as peers:
                for number, peer in enumerate(peers):
                    peer.ask("create", NAMESPACE, f"warm-{workers}-{number}", 50, workers)
                for number, peer in enumerate(turns(peers, self.options.rounds * 2, {self.python.name: 3})):
                    seconds = peer.ask("create", NAMESPACE, f"c-{workers}-{number}", count, workers)["seconds"]
                    rates[peer.name].append(count / seconds)
            for ours, theirs in self.pairs:
                for metric, take in (("maximum", max), ("median", statistics.median)):
                    self.records.add(f"create ConfigMaps, {workers} at a time, {self.encoding(ours)}", metric, "1/s",
                                     take(rates[ours.name]), theirs.name, take(rates[theirs.name]), lower_is_better=False)

    def watch(self) -> None:
        shares = {"p50": 50, "p99": 99}
        found: dict[str, dict[str, list[float]]] = {peer.name: {name: [] for name in shares} for peer in self.all}
        emitter = Peer("emitter", self.go_protobuf.command)
        with opened(emitter, *self.all):
            # Nearly all of it is the server's own time, which wanders: many short turns.
            for number, peer in enumerate(turns(self.all, self.options.rounds * 2, {})):
                # A namespace each time: a list at the start would count as events.
                namespace = f"watch-{number}"
                subprocess.run(["kubectl", "create", "namespace", namespace], check=True, stdout=subprocess.DEVNULL)
                peer.tell("watch", namespace, self.options.events)
                assert peer.hear()["ready"]
                emitter.ask("emit", namespace, "e", self.options.events, 4000)
                latencies = statistics.quantiles(peer.hear()["latencies"], n=100)
                for name, share in shares.items():
                    found[peer.name][name].append(latencies[share - 1])
        for ours, theirs in self.pairs:
            for name in shares:
                for metric, take in (("minimum", min), ("median", statistics.median)):
                    mine, other = (take(found[each.name][name]) for each in (ours, theirs))
                    self.records.add(f"watch: creation to callback, {name}, {self.encoding(ours)}", metric, "ms",
                                     mine * 1e3, theirs.name, other * 1e3)

    def cache(self) -> None:
        peers = [self.protobuf, self.go_protobuf, self.json, self.go_json]
        for size in map(int, self.options.cache.split(",")):
            self.seed(size)
            memory: dict[str, list[tuple[float, float]]] = {peer.name: [] for peer in peers}
            times: dict[str, list[float]] = {peer.name: [] for peer in peers}
            for peer in turns(peers, 2, {}):
                with opened(peer):
                    answer = peer.ask("informer", NAMESPACE)
                    assert answer["items"] == self.seeded, f"{peer.name}: {answer}"
                    times[peer.name].append(answer["seconds"])
                    time.sleep(5)  # what is freed goes back to the system
                    memory[peer.name].append(peer.memory())
            for ours, theirs in self.pairs[:2]:
                case = f"informer of {self.seeded:,} pods, {self.encoding(ours)}"
                for index, metric in enumerate(("memory", "peak memory")):
                    mine, other = (min(each[index] for each in memory[peer.name]) for peer in (ours, theirs))
                    self.records.add(case, metric, "MiB", mine, theirs.name, other)
                self.records.add(case, "until synced", "s", min(times[ours.name]), theirs.name, min(times[theirs.name]))


def main() -> None:
    options = arguments()
    records = Records()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([CLUSTER / "build.sh"], check=True)
        # The server would list all there is every few minutes, to compare its caches: in one peer's turn.
        os.environ["MIZZEN_APISERVER_FLAGS"] = "--feature-gates=DetectCacheInconsistency=false"
        subprocess.run([CLUSTER / "start.sh", "--bare", "--owner", str(os.getpid()), folder], check=True)
        try:
            shell = subprocess.check_output(["bash", "-c", f". {folder}/env; env -0"], text=True)
            os.environ.update(line.split("=", 1) for line in shell.split("\0") if "=" in line)
            for kind in (["namespace", NAMESPACE], ["serviceaccount", "default", "-n", NAMESPACE]):
                subprocess.run(["kubectl", "create", *kind], check=True)
            bench = Bench(options, records)
            for each in options.only:
                print(f"--- {each}", flush=True)
                getattr(bench, each)()
        finally:
            subprocess.run([CLUSTER / "stop.sh", folder], check=True)
    records.write(options.result)


main()
