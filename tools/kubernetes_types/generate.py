#!/usr/bin/env python3
"""Writes the Kubernetes types of mizzen::kubernetes: structs, and the tables that the codecs run on.

The sources (see model.py) are of one Kubernetes version and all in the Go module cache once
tests/cluster has been built; k8s.io/kubernetes/api/openapi-spec/v3 holds the OpenAPI documents.

  generate.py                 writes into include/mizzen/kubernetes/types and src/kubernetes/types
  generate.py --check         compares instead, and fails if they differ
  generate.py --server        takes the OpenAPI documents from `kubectl get --raw`
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

from cpp import HEADERS, ROOT, SOURCES, generate
from model import GROUPS, Model


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def module_cache():
    """As Go finds it; a Go that is too old to be on the PATH is not asked."""
    if "GOMODCACHE" in os.environ:
        return pathlib.Path(os.environ["GOMODCACHE"])
    return pathlib.Path(os.environ.get("GOPATH") or pathlib.Path.home() / "go") / "pkg/mod"


def documents(modules, version, from_server):
    result = {}
    for name, (_, _, _, path) in GROUPS.items():
        if not path:
            continue
        if from_server:
            result[name] = json.loads(run("kubectl", "get", "--raw", f"/openapi/v3/{path}"))
        else:
            file = path.replace("/", "__") + "_openapi.json"
            folder = modules / f"kubernetes@v1.{version[3:]}" / "api/openapi-spec/v3"
            result[name] = json.loads((folder / file).read_text())
    return result


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--version", default="v0.36.3", help="of k8s.io/api and its like")
    options.add_argument("--check", action="store_true")
    options.add_argument("--server", action="store_true")
    arguments = options.parse_args()
    modules = module_cache() / "k8s.io"
    version = arguments.version
    if not (modules / f"api@{version}").exists():
        print(f"SKIPPED: k8s.io/api {version} is not in the Go module cache: run tests/cluster/build.sh")
        sys.exit(77)
    model = Model(documents(modules, version, arguments.server), modules, version)
    files = generate(model, "v1." + version[3:])
    stale = {p for folder in (HEADERS, SOURCES) for p in folder.glob("*.?pp")} - set(files)
    if arguments.check:
        wrong = [p for p, text in files.items() if not p.exists() or p.read_text() != text]
        for path in sorted([*wrong, *stale]):
            print(f"{path.relative_to(ROOT)} is not what the generator writes")
        sys.exit(1 if wrong or stale else 0)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    for path in stale:
        path.unlink()


if __name__ == "__main__":
    main()
