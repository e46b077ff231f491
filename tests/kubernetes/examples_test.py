#!/usr/bin/env python3
"""Runs the programs of examples/kubernetes against a running cluster, as somebody at a prompt would.

usage: examples_test.py --programs FOLDER --cluster FOLDER [--node]

--node runs those that need the containers of the real node, and only those.
"""
import argparse
import json
import os
import pty
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest
import uuid

PATIENCE = 120  # seconds: of any one step, on a loaded machine
options = None


class Program:
    """An example that runs; its output comes line by line."""

    def __init__(self, arguments, environment, folder, stdin=subprocess.DEVNULL):
        self.process = subprocess.Popen(arguments, env=environment, cwd=folder, stdin=stdin, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.seen = []
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with self.process.stdout as output:
            for line in output:
                self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def await_line(self, pattern):
        """The match of the next line that the pattern is found in."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = self.lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"no line with {pattern!r} in:\n" + "\n".join(self.seen))
            self.seen.append(line)
            if found := re.search(pattern, line):
                return found

    def await_lines(self, *patterns):
        """The next lines that they are found in, in whatever order."""
        missing = set(patterns)
        while missing:
            self.await_line("|".join(sorted(missing)))
            missing = {pattern for pattern in missing if not re.search(pattern, self.seen[-1])}

    def end(self, with_signal):
        self.process.send_signal(with_signal)
        return self.process.wait(PATIENCE)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class ExamplesTest(unittest.TestCase):
    """A namespace of its own, which is that of the kubeconfig's context."""

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        text = subprocess.run(["bash", "-c", '. "$0"/env && env -0', options.cluster], check=True,
                              capture_output=True, timeout=PATIENCE).stdout
        self.environment = dict(entry.split("=", 1) for entry in text.decode().split("\0") if "=" in entry)
        for proxy in ("http_proxy", "https_proxy", "all_proxy"):
            self.environment.pop(proxy, None)
            self.environment.pop(proxy.upper(), None)
        self.namespace = f"examples-{uuid.uuid4().hex[:12]}"
        self.kubectl("create", "namespace", self.namespace)
        self.addCleanup(self.kubectl, "delete", "namespace", self.namespace, "--wait=false")
        self.use("admin")

    def use(self, user):
        """Whose KUBECONFIG the examples get; kubectl goes on as admin."""
        own = os.path.join(self.folder, user + ".kubeconfig")
        shutil.copy(os.path.join(options.cluster, user + ".kubeconfig"), own)
        self.environment["KUBECONFIG"] = own
        self.kubectl("config", "set-context", "--current", "--namespace", self.namespace, "--kubeconfig", own)

    def kubectl(self, *arguments, stdin=None):
        admin = self.environment | {"KUBECONFIG": os.path.join(options.cluster, "admin.kubeconfig")}
        ran = subprocess.run(["kubectl", f"--namespace={self.namespace}", *arguments], env=admin, input=stdin,
                             text=True, capture_output=True, timeout=PATIENCE)
        self.assertEqual(ran.returncode, 0, f"kubectl {arguments}: {ran.stderr}")
        return ran.stdout.strip()

    def command(self, example, *arguments):
        return [os.path.join(options.programs, "mizzen_example_" + example), *arguments]

    def run_example(self, example, *arguments, status=0, stdin=""):
        """What it says, stdout and stderr, once it has ended with that exit status."""
        ran = subprocess.run(self.command(example, *arguments), env=self.environment, cwd=self.folder,
                             input=stdin, text=True, capture_output=True, timeout=PATIENCE)
        self.assertEqual(ran.returncode, status, f"{example} {arguments}:\n{ran.stdout}{ran.stderr}")
        return ran.stdout, ran.stderr

    def start_example(self, example, *arguments):
        program = Program(self.command(example, *arguments), self.environment, self.folder)
        self.addCleanup(program.kill)
        return program


class OnTheControlPlane(ExamplesTest):
    def run_pod(self, name):
        self.kubectl("run", name, "--image=none", f"--labels=app={name}")
        self.kubectl("wait", "--for=condition=Ready", f"--timeout={PATIENCE}s", "pod/" + name)

    def test_list_pods(self):
        self.assertEqual(self.run_example("list_pods"), ("", ""))
        for name in ("red", "blue"):
            self.run_pod(name)
        node = self.kubectl("get", "pod", "red", "-o", "jsonpath={.spec.nodeName}")
        self.assertEqual(self.run_example("list_pods", "app=red"), (f"red Running {node}\n", ""))
        all_of_them = self.run_example("list_pods")[0].splitlines()
        self.assertEqual([line.split()[0] for line in all_of_them], ["blue", "red"])
        self.assertIn("unable to parse", self.run_example("list_pods", "app in", status=1)[1])
        self.use("token-nobody")
        self.assertIn("forbidden", self.run_example("list_pods", status=1)[1])

    def test_whoami(self):
        out, _ = self.run_example("whoami")
        context = self.kubectl("config", "current-context")
        self.assertIn(f"* {context} -> ", out)
        server = self.environment["MIZZEN_CLUSTER_API"]
        self.assertRegex(out, rf"(?m)^admin at {server} \(.*\), namespace {self.namespace}$")
        self.assertIn("  in system:masters\n", out)
        self.assertIn("none-such", self.run_example("whoami", "none-such", status=1)[1])
        self.use("token-viewer")
        out, _ = self.run_example("whoami", context)
        who = self.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}",
                           "--kubeconfig", self.environment["KUBECONFIG"])
        self.assertIn(f"\n{who} at {server}", out)

    def test_apply_deployment(self):
        self.run_example("apply_deployment", status=2)
        self.assertEqual(self.run_example("apply_deployment", "web", "one:1")[0], "web is at generation 1\n")
        self.assertEqual(self.run_example("apply_deployment", "web", "one:1")[0], "web is at generation 1\n")
        self.assertEqual(self.run_example("apply_deployment", "web", "one:2", "3")[0], "web is at generation 2\n")
        self.kubectl("rollout", "status", "deployment/web", f"--timeout={PATIENCE}s")
        web = json.loads(self.kubectl("get", "deployment", "web", "-o", "json"))
        self.assertEqual(web["status"]["readyReplicas"], 3)
        self.assertEqual(web["spec"]["template"]["spec"]["containers"][0]["image"], "one:2")
        # Another field manager takes the replicas: a conflict, which names the field.
        self.kubectl("scale", "deployment/web", "--replicas=2")
        _, err = self.run_example("apply_deployment", "web", "one:2", "5", status=1)
        self.assertIn("replicas", err)
        self.assertIn("Invalid value", self.run_example("apply_deployment", "No_Name", "one", status=1)[1])

    def test_watch_pods(self):
        self.run_pod("early")
        watch = self.start_example("watch_pods", self.namespace)
        watch.await_lines(r"^1 pods, of which 1 run", f"^added   {self.namespace}/early Running$")
        self.run_pod("late")
        watch.await_line(rf"^added   {self.namespace}/late ")
        if not watch.seen[-1].endswith(" Running"):
            watch.await_line(rf"^updated {self.namespace}/late Running$")
        self.kubectl("delete", "pod", "early", "--now")
        watch.await_line(rf"^deleted {self.namespace}/early ")
        self.assertEqual(watch.end(signal.SIGINT), 0)
        # Of all namespaces.
        watch = self.start_example("watch_pods")
        watch.await_lines(r"pods, of which", f"^added   {self.namespace}/late Running$")
        self.assertEqual(watch.end(signal.SIGTERM), 0)

    def test_leader_election(self):
        def candidate():
            program = self.start_example("leader_election", self.namespace, "chair")
            return program, program.await_line(r"^I am (.+)$")[1]

        first, first_name = candidate()
        first.await_line(r"^I lead$")
        second, second_name = candidate()
        self.assertNotEqual(first_name, second_name)
        second.await_line(f"^{re.escape(first_name)} leads$")
        self.assertNotIn("I lead", second.seen)
        self.assertEqual(first.end(signal.SIGTERM), 0)
        second.await_line(r"^I lead$")
        holder = ("get", "lease", "chair", "-o", "jsonpath={.spec.holderIdentity}")
        self.assertEqual(self.kubectl(*holder), second_name)
        # One that is killed resigns nothing; its lease runs out.
        third, third_name = candidate()
        third.await_line(f"^{re.escape(second_name)} leads$")
        second.kill()
        third.await_line(r"^I lead$")
        self.assertEqual(third.end(signal.SIGINT), 0)
        self.assertNotEqual(self.kubectl(*holder), third_name)

    def test_submit_gpu_job(self):
        self.run_example("submit_gpu_job", status=2)
        out, _ = self.run_example("submit_gpu_job", "trainer:1", "./train")
        self.assertIn(f"submitted {self.namespace}/train\n", out)
        self.assertRegex(out, r"(?m)^succeeded ")
        self.assertRegex(out, r"(?m)^  train-\w+ on fake-gpu: exit code 0 Completed$")
        job = json.loads(self.kubectl("get", "job", "train", "-o", "json"))
        self.assertEqual(job["spec"]["template"]["spec"]["containers"][0]["command"], ["./train"])
        # Again: it is on record, even when the Job is gone.
        for _ in range(2):
            again, _ = self.run_example("submit_gpu_job", "trainer:1", "./train")
            self.assertIn(f"found {self.namespace}/train\n", again)
            self.assertRegex(again, r"(?m)^succeeded ")
            self.kubectl("delete", "job", "train", "--ignore-not-found")
        self.assertEqual(self.kubectl("get", "jobs", "-o", "name"), "")
        self.assertIn("spec", self.run_example("submit_gpu_job", "trainer:2", status=2)[1])

    def test_submit_gpu_job_that_waits(self):
        self.kubectl("create", "quota", "none-left", "--hard=requests.nvidia.com/gpu=0")
        waiting = self.start_example("submit_gpu_job", "trainer:1", "./train")
        waiting.await_line(r"^submitted ")
        waiting.await_line(r"(?i)quota")  # after half a minute it asks why
        waiting.kill()
        # Killed and started again it goes on with the same Job.
        uid = self.kubectl("get", "job", "train", "-o", "jsonpath={.metadata.uid}")
        waiting = self.start_example("submit_gpu_job", "trainer:1", "./train")
        waiting.await_line(r"^found ")
        self.assertEqual(self.kubectl("get", "job", "train", "-o", "jsonpath={.metadata.uid}"), uid)
        self.kubectl("delete", "job", "train")
        waiting.await_line(r"^lost ")
        self.assertEqual(waiting.process.wait(PATIENCE), 1)


class OnTheRealNode(ExamplesTest):
    def setUp(self):
        super().setUp()
        self.kubectl("apply", "-f", "-", stdin="""
apiVersion: v1
kind: Pod
metadata: {name: real}
spec:
  nodeName: localhost
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: mizzen.test/busybox:1
    imagePullPolicy: Never
    command: [nc, -ll, -p, "7070", -e, cat]
    readinessProbe:  # listens on 7070, without a connection to it
      exec: {command: [sh, -c, "cat /proc/net/tcp /proc/net/tcp6 | grep -q ':1B9E .* 0A '"]}
      periodSeconds: 1
""")
        self.kubectl("wait", "--for=condition=Ready", f"--timeout={PATIENCE}s", "pod/real")

    def test_exec_shell(self):
        self.run_example("exec_shell", status=2)
        out = self.run_example("exec_shell", self.namespace, "real", stdin="echo out; echo err >&2; exit 7\n",
                               status=7)
        self.assertEqual(out, ("out\n", "err\n"))
        text = "".join(f"{line}\n" for line in range(50_000))
        self.assertEqual(self.run_example("exec_shell", self.namespace, "real", "main", "cat", stdin=text), (text, ""))
        self.assertIn("none", self.run_example("exec_shell", self.namespace, "none", status=1)[1])
        self.assertIn("no-such", self.run_example("exec_shell", self.namespace, "real", "main", "no-such", status=1)[1])

    def test_exec_shell_with_a_terminal(self):
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, theirs)
        termios.tcsetwinsize(theirs, (45, 123))
        before = termios.tcgetattr(theirs)
        shell = Program(self.command("exec_shell", self.namespace, "real"), self.environment, self.folder, stdin=theirs)
        self.addCleanup(shell.kill)
        os.write(ours, b"while [ \"$(stty size)\" != '45 123' ]; do sleep 1; done; echo it is $((40 + 2))\n")
        shell.await_line("it is 42")
        termios.tcsetwinsize(theirs, (50, 100))
        shell.process.send_signal(signal.SIGWINCH)
        os.write(ours, b"while [ \"$(stty size)\" != '50 100' ]; do sleep 1; done; echo now $((40 + 3))\n")
        shell.await_line("now 43")
        os.write(ours, b"exit 5\n")
        self.assertEqual(shell.process.wait(PATIENCE), 5)
        self.assertEqual(termios.tcgetattr(theirs), before)

    def test_port_forward(self):
        self.run_example("port_forward", self.namespace, "real", status=2)
        self.run_example("port_forward", self.namespace, "real", "7070", "none", status=2)
        forward = self.start_example("port_forward", self.namespace, "real", "7070")
        port = int(forward.await_line(r"^127\.0\.0\.1:(\d+) leads to port 7070 of ")[1])
        sent = os.urandom(100_000)
        for _ in range(2):  # connections, one after the other
            received = b""
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
                writer = threading.Thread(target=connection.sendall, args=(sent,))
                writer.start()
                while len(received) < len(sent) and (piece := connection.recv(1 << 16)):
                    received += piece
                writer.join()
            self.assertEqual(received, sent)
        self.assertEqual(forward.end(signal.SIGINT), 0)


def main():
    global options
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True, help="folder of the examples that were built")
    parser.add_argument("--cluster", required=True, help="folder of a running cluster")
    parser.add_argument("--node", action="store_true")
    parser.add_argument("tests", nargs="*", help="of one class: test_watch_pods …")
    options = parser.parse_args()
    options.programs = os.path.abspath(options.programs)
    options.cluster = os.path.abspath(options.cluster)
    missing = os.path.join(options.cluster, "node-unavailable" if options.node else "unavailable")
    if os.path.exists(missing) or not os.path.exists(os.path.join(options.cluster, "env")):
        print("SKIPPED:", open(missing).read() if os.path.exists(missing) else "no cluster runs there")
        return 77
    of = OnTheRealNode if options.node else OnTheControlPlane
    loader = unittest.TestLoader()
    tests = (unittest.TestSuite(map(of, options.tests)) if options.tests else loader.loadTestsFromTestCase(of))
    return 0 if unittest.TextTestRunner(verbosity=2).run(tests).wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
