"""Helpers of the comparison scripts: interleaved timing, and the records that they write."""
import datetime
import json
import pathlib
import statistics
import time
from collections.abc import Callable


def cpu() -> str:
    """The processor's name and how many of them this process may use."""
    import os

    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.split(':', 1)[1].strip()}, {len(os.sched_getaffinity(0))} CPUs"
    return "unknown CPU"


def interleaved(first: Callable[[], object], second: Callable[[], object], rounds: int, warmup: int = 3) -> tuple[list[float], list[float]]:
    """Seconds of each call of two competitors, taken in turn so that both meet the same noise."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(warmup + rounds):
        order = ((0, first), (1, second)) if number % 2 else ((1, second), (0, first))
        for index, call in order:
            start = time.perf_counter()
            call()
            if number >= warmup:
                times[index].append(time.perf_counter() - start)
    return times


class Records:
    """Collects records and writes them as benchmarks/results/<area>.json has them."""

    def __init__(self) -> None:
        self.list: list[dict[str, object]] = []

    def add(self, case: str, metric: str, unit: str, mizzen: float, peer: str, value: float, *, lower_is_better: bool = True, hardware: str | None = None) -> None:
        ratio = value / mizzen if lower_is_better else mizzen / value
        self.list.append({
            "case": case,
            "metric": metric,
            "unit": unit,
            "mizzen": float(f"{mizzen:.4g}"),
            "peer": peer,
            "value": float(f"{value:.4g}"),
            "ratio": float(f"{ratio:.3g}"),
            "cpu_or_gpu": hardware or cpu(),
            "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        })
        print(f"{case:40} {metric:12} {mizzen:10.4g} {unit:8} {peer:24} {value:10.4g}   x{ratio:.2f}", flush=True)

    def add_times(self, case: str, unit: str, mizzen: list[float], peer: str, theirs: list[float], scale: float, *, hardware: str | None = None) -> None:
        """Minimum and median of interleaved times; scale: seconds to unit."""
        for metric, take in (("minimum", min), ("median", statistics.median)):
            self.add(case, metric, unit, take(mizzen) * scale, peer, take(theirs) * scale, hardware=hardware)

    def write_over(self, path: str, old: pathlib.Path) -> None:
        """In the place of the records of the same case and metric in an older file, whose others stay."""
        made = {(each["case"], each["metric"], each["peer"]): each for each in self.list}
        kept = json.loads(old.read_text()) if old.exists() else []
        merged = [made.pop((each["case"], each["metric"], each["peer"]), each) for each in kept]
        self.list = merged + list(made.values())
        self.write(path)

    def write(self, path: str) -> None:
        pathlib.Path(path).write_text(json.dumps(self.list, indent=1) + "\n")
