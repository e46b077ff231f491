#!/usr/bin/env python3
"""Passes ctest's output through, but says what was skipped, and why, before ctest's closing lines.

    ctest ... --output-junit RESULTS | tests/skipped.py RESULTS
"""
import re
import sys
import xml.etree.ElementTree

CLOSING = re.compile(r"^\d+% tests passed|^No tests were found")


def reason(output):
    """The line of a skipped test's output that says why: what follows 'Skipped', or its last line."""
    lines = [line.strip() for line in (output or "").splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if line.startswith(("SKIPPED:", "SKIPPED ")):
            return line[len("SKIPPED"):].lstrip(": ")
        # GoogleTest: "file.cpp:12: Skipped", the message on the next line.
        if line.endswith(": Skipped") and number + 1 < len(lines):
            following = lines[number + 1]
            return "no reason given" if following.startswith("[") else following
    return lines[-1] if lines else "no reason given"


def skipped(path):
    """(name, reason) of every test that did not run."""
    found = []
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        node = case.find("skipped")
        if node is not None or case.get("status") in ("notrun", "disabled"):
            why = reason(case.findtext("system-out"))
            if why == "no reason given" and node is not None and node.get("message"):
                why = node.get("message")
            found.append((case.get("name"), why))
    return found


def main():
    closing = []
    for line in sys.stdin:
        if CLOSING.match(line):
            # What was held back so far was the end of a ctest that a failed test had run.
            sys.stdout.writelines(closing)
            closing = [line]
        elif closing:
            closing.append(line)
        else:
            sys.stdout.write(line)
    try:
        tests = skipped(sys.argv[1])
    except (OSError, xml.etree.ElementTree.ParseError) as problem:
        print(f"\nwhat was skipped is not known: {problem}")
        tests = []
    if tests:
        by_reason = {}
        for name, why in tests:
            by_reason.setdefault(why, []).append(name)
        print(f"\nSKIPPED: {len(tests)} tests did not run on this machine")
        for why, names in sorted(by_reason.items()):
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            print(f"  {why}\n    {shown}")
    else:
        print("\nSKIPPED: nothing")
    print()
    sys.stdout.writelines(closing)


main()
