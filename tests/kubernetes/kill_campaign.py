#!/usr/bin/env python3
"""Kills a submitter with SIGKILL at random points of its life, and starts it again until it is done.

Each point is a Job of its own. What was created is recorded by two watches of kubectl, which know
nothing of submissions: exactly one Job of each name, and one pod of each Job, may ever have been
there. Every other Job has a TTL of 0 s: it vanishes while its submitter is dead.
"""
import argparse
import collections
import os
import random
import subprocess
import sys
import tempfile
import threading
import time


def environment_of(cluster):
    text = subprocess.run(["bash", "-c", '. "$0"/env && env -0', cluster], check=True, capture_output=True).stdout
    return dict(entry.split("=", 1) for entry in text.decode().split("\0") if "=" in entry)


class Watch:
    """The uids of every object of a kind that came to be, by name."""

    def __init__(self, kind, namespace, environment):
        self.uids = collections.defaultdict(set)
        self.process = subprocess.Popen(
            ["kubectl", "get", kind, "-n", namespace, "--watch", "--output-watch-events",
             "-o", r'jsonpath={.type} {.object.metadata.name} {.object.metadata.uid} '
                   r'{.object.metadata.labels.batch\.kubernetes\.io/job-name}{"\n"}'],
            env=environment, stdout=subprocess.PIPE, text=True)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            words = line.split()
            if len(words) >= 3:
                self.uids[words[3] if len(words) > 3 else words[1]].add(words[2])

    def await_name(self, name):
        deadline = time.monotonic() + 60
        while name not in self.uids:
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit(f"the watch did not see {name}: it cannot bear witness")
            time.sleep(0.05)

    def stop(self):
        self.process.kill()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--submitter", required=True)
    parser.add_argument("--cluster", required=True, help="folder of a running cluster")
    parser.add_argument("--points", type=int, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    if not os.path.exists(os.path.join(options.cluster, "env")):
        print("no cluster runs in", options.cluster)
        return 77
    environment = environment_of(options.cluster)
    random.seed(options.seed)
    namespace = f"kill-{os.getpid()}-{random.randrange(1 << 32):08x}"

    def kubectl(*arguments, **more):
        return subprocess.run(["kubectl", *arguments], env=environment, check=True, capture_output=True, **more)

    kubectl("create", "namespace", namespace)
    jobs = Watch("jobs", namespace, environment)
    pods = Watch("pods", namespace, environment)
    problems = []
    kills = 0
    ends = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        journal = os.path.join(folder, "submissions")

        def start(name, *ttl):
            return subprocess.Popen([options.submitter, journal, namespace, name, *ttl], env=environment,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

        begun = time.monotonic()
        whole = start("whole")
        if whole.wait(120) != 0:
            print(whole.stderr.read())
            return 1
        life = time.monotonic() - begun
        for point in range(options.points):
            name = f"point-{point}"
            ttl = ["0"] if point % 2 else []
            # One kill at a random point for each Job, one more for some; then it may finish.
            for attempt in range(20):
                process = start(name, *ttl)
                if attempt == 0 or (attempt < 4 and random.random() < 0.3):
                    try:
                        process.wait(random.uniform(0, life * 1.1))
                    except subprocess.TimeoutExpired:
                        process.kill()
                        kills += 1
                out, complaint = process.communicate(timeout=120)
                if process.returncode == 0:
                    uid, state = out.split()
                    ends[state] += 1
                    if uid not in jobs.uids[name] and len(jobs.uids[name]) > 0:
                        problems.append(f"{name}: reported uid {uid}, created {jobs.uids[name]}")
                    break
                if process.returncode > 0:
                    problems.append(f"{name}: {complaint.strip()}")
                    break
            else:
                problems.append(f"{name}: never finished")
        kubectl("apply", "-n", namespace, "-f", "-", text=True, input="""
apiVersion: batch/v1
kind: Job
metadata: {name: sentinel}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: none}]}}}
""")
        jobs.await_name("sentinel")
        pods.await_name("sentinel")
    for point in range(options.points):
        name = f"point-{point}"
        for what, watch in (("Jobs", jobs), ("pods", pods)):
            if len(watch.uids[name]) != 1:
                problems.append(f"{name}: {len(watch.uids[name])} {what} were created")
    jobs.stop()
    pods.stop()
    kubectl("delete", "namespace", namespace, "--wait=false")
    print(f"seed {options.seed}: {options.points} Jobs, {kills} kills in {life * 1000:.0f} ms of life, "
          f"ends: {dict(ends)}, problems: {len(problems)}")
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
