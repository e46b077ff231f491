"""Runs the quickstart program for the tests beside this file."""
import pathlib
import re
import socket
import subprocess


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(program: str, root: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess:
    done = subprocess.run([program, f"--root={root}", *arguments], capture_output=True, text=True, timeout=600)
    print(done.stdout, done.stderr, sep="\n")
    return done


def field(output: str, name: str) -> str:
    """The value of a line of the closing summary."""
    match = re.search(rf"^{name} +(.*)$", output, re.M)
    assert match, f"the summary has no line '{name}'"
    return match[1]
