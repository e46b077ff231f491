#!/usr/bin/env python3
"""Fills the code blocks of the documentation from examples that compile.

In Markdown, the block after the line   <!-- snippet: examples/inference.cpp readme -->
is the part of that file between        // --8<-- [start:readme]   and   // --8<-- [end:readme]
(the notation of pymdownx.snippets), without its common indentation.

  tools/docs.py          rewrites the blocks
  tools/docs.py --check  exits 1 and says which block is out of date
"""
import pathlib
import re
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"(<!-- snippet: (\S+) (\S+) -->\n```(\w+)\n)(.*?)(```\n)", re.S)


def snippet(path: str, name: str) -> str:
    text = (ROOT / path).read_text()
    match = re.search(
        rf"^[^\n]*--8<-- \[start:{re.escape(name)}\]\n(.*?)^[^\n]*--8<-- \[end:{re.escape(name)}\]",
        text, re.S | re.M)
    if not match:
        sys.exit(f"tools/docs.py: {path} has no section '{name}'")
    return textwrap.dedent(match.group(1)).strip("\n") + "\n"


def main() -> int:
    check = "--check" in sys.argv[1:]
    stale = 0
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]:
        old = page.read_text()
        new = BLOCK.sub(lambda m: m[1] + snippet(m[2], m[3]) + m[6], old)
        if new == old:
            continue
        if check:
            print(f"{page.relative_to(ROOT)} does not match its examples: run tools/docs.py")
            stale = 1
        else:
            page.write_text(new)
    return stale


if __name__ == "__main__":
    sys.exit(main())
