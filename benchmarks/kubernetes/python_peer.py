"""The official Python client in the benchmarks of the Kubernetes module: does what a line of its
standard input says and answers by a line of JSON. The lines are described in client-go/main.go; it
has no informer, so `watch` is a plain watch, and no protobuf.

usage: python_peer.py [--first NS]
"""
import concurrent.futures
import json
import resource
import sys
import time

from kubernetes import client, config, watch


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def say(**answer: object) -> None:
    print(json.dumps(answer), flush=True)


def list_pods(api: client.CoreV1Api, namespace: str) -> None:
    start, used = time.perf_counter(), cpu()
    pods = api.list_namespaced_pod(namespace)
    say(seconds=time.perf_counter() - start, cpu=cpu() - used, items=len(pods.items))


def create(api: client.CoreV1Api, namespace: str, prefix: str, count: int, workers: int) -> None:
    def one(number: int) -> None:
        body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name=f"{prefix}-{number}"), data={"key": "value"})
        api.create_namespaced_config_map(namespace, body)

    start, used = time.perf_counter(), cpu()
    if workers == 1:
        for number in range(count):
            one(number)
    else:
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            list(pool.map(one, range(count)))
    say(seconds=time.perf_counter() - start, cpu=cpu() - used)


def watch_maps(api: client.CoreV1Api, namespace: str, count: int) -> None:
    known = api.list_namespaced_config_map(namespace)
    latencies: list[float] = []
    events = watch.Watch().stream(api.list_namespaced_config_map, namespace,
                                  resource_version=known.metadata.resource_version)
    say(ready=True)
    for event in events:
        now = time.time_ns()
        sent = (event["object"].data or {}).get("sent")
        if event["type"] == "ADDED" and sent:
            latencies.append((now - int(sent)) / 1e9)
            if len(latencies) == count:
                break
    say(latencies=latencies)


def main() -> None:
    config.load_kube_config()
    settings = client.Configuration.get_default_copy()
    settings.connection_pool_maxsize = 16
    api = client.CoreV1Api(client.ApiClient(settings))
    if sys.argv[1:2] == ["--first"]:
        print(api.list_namespaced_pod(sys.argv[2], limit=1).items[0].metadata.name, flush=True)
        return
    for line in sys.stdin:
        command, namespace, *rest = line.split()
        if command == "list":
            list_pods(api, namespace)
        elif command == "create":
            create(api, namespace, rest[0], int(rest[1]), int(rest[2]))
        elif command == "watch":
            watch_maps(api, namespace, int(rest[0]))
        else:
            sys.exit(f"no such command: {command}")


main()
