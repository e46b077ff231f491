#!/usr/bin/env python3
"""Checks result files, and refills the tables in benchmarks/README.md from them.

    benchmarks/tables.py check FILE
    benchmarks/tables.py write README RESULTS_FOLDER
"""
import json
import pathlib
import re
import sys

FIELDS = {"case": str, "metric": str, "unit": str, "mizzen": (int, float), "peer": str,
          "value": (int, float), "ratio": (int, float), "cpu_or_gpu": str, "date": str}
BEGIN, END = "<!-- results: made by benchmarks/run.sh -->", "<!-- end of results -->"


def load(path: pathlib.Path) -> list[dict]:
    records = json.loads(path.read_text())
    if not isinstance(records, list) or not records:
        sys.exit(f"{path}: not a list of records")
    for record in records:
        for field, kind in FIELDS.items():
            if not isinstance(record.get(field), kind):
                sys.exit(f"{path}: field '{field}' is missing or of the wrong type in {record}")
        if set(record) != set(FIELDS):
            sys.exit(f"{path}: unknown fields {set(record) - set(FIELDS)}")
    return records


def table(area: str, records: list[dict]) -> str:
    lines = [f"### {area}", ""]
    hardware = sorted({r["cpu_or_gpu"] for r in records})
    dates = sorted({r["date"] for r in records})
    lines += [f"{'; '.join(hardware)}. {', '.join(dates)}.", "",
              "| case | metric | unit | Mizzen | peer | peer's figure | ratio |", "|---|---|---|---:|---|---:|---:|"]
    for r in records:
        lines.append(f"| {r['case']} | {r['metric']} | {r['unit']} | {r['mizzen']:g} | {r['peer']} | {r['value']:g} | {r['ratio']:g} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    if sys.argv[1:2] == ["check"]:
        load(pathlib.Path(sys.argv[2]))
        return
    readme, folder = pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    tables = [table(path.stem, load(path)) for path in sorted(folder.glob("*.json"))]
    text = readme.read_text()
    filled = BEGIN + "\n\n" + "\n".join(tables) + "\n" + END
    readme.write_text(re.sub(re.escape(BEGIN) + ".*" + re.escape(END), lambda _: filled, text, flags=re.S))


main()
