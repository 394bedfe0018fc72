"""Runs all benchmarks that compare two ways of doing the same, and writes their ratios into docs/performance.md.

`python -m benchmarks [--quick] [--only NAME ...] [--into FILE]`, or `make bench`: about half an hour on two idle cores.
Each benchmark has a process of its own. What it prints is printed; the table between the marks of the file is replaced
after each, so that one that fails or is stopped keeps the rows before it.
`--quick`: the smallest sizes, one round, one process, and no file but one that is named: does everything run?
"""

import argparse
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ratios import Ratio, ratios_of
from docs.marks import replaced

FILE = Path(__file__).parent.parent / "docs" / "performance.md"
NAME = "ratios"


@dataclass(frozen=True)
class Benchmark:
    """A module of this folder whose `main` takes flags and returns ratios. quick: its flags for the smallest size; None
    where even that takes long.
    """

    name: str
    flags: tuple[str, ...]
    quick: tuple[str, ...] | None


BENCHMARKS = (
    Benchmark("observing", (), ("--quick",)),
    Benchmark("observing", ("--length", "1024"), ("--quick",)),
    Benchmark("observing", ("--length", "2048", "--rounds", "5"), ("--quick",)),
    Benchmark("observing", ("--dtype", "bfloat16"), ("--dtype", "bfloat16", "--quick")),
    Benchmark("observing", ("--dtype", "bfloat16", "--length", "1024"), ("--dtype", "bfloat16", "--quick")),
    Benchmark(
        "observing", ("--dtype", "bfloat16", "--length", "2048", "--rounds", "5"), ("--dtype", "bfloat16", "--quick")
    ),
    Benchmark("observing", ("--cached", "--rounds", "3"), ("--cached", "--quick")),
    Benchmark("pruning", (), ("--quick",)),
    Benchmark("sweep", (), ("--samples", "2", "--seq-len", "16")),
    Benchmark("tuning", (), ("--rounds", "1", "--samples", "2")),
    Benchmark("likelihood", ("--draws", "32"), ("--items", "1", "--seeds", "4", "--draws", "4")),
    Benchmark(
        "likelihood",
        ("--unequal", "--items", "48", "--draws", "32"),
        ("--unequal", "--items", "1", "--seeds", "4", "--draws", "4"),
    ),
    Benchmark("noise", (), ("--samples", "2", "--seq-len", "16", "--seeds", "2")),
    Benchmark("threads", (), None),
    Benchmark("growth", (), ("--quick",)),
)


@dataclass(frozen=True)
class Measured:
    """What a benchmark gave. load: the machine's load average, over one minute, as it began and as it ended."""

    benchmark: Benchmark
    ratios: tuple[Ratio, ...]
    load: tuple[float, float]


def main(arguments: list[str] | None = None) -> None:
    """Runs, prints, and writes the table. Raises ValueError for a file without the marks, before anything runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smallest sizes: does everything run?")
    parser.add_argument("--only", nargs="+", default=[], help="names of benchmarks; all when left out")
    parser.add_argument("--into", type=Path, help="the file with the table (default docs/performance.md)")
    options = parser.parse_args(arguments)
    file = options.into or (None if options.quick else FILE)
    if file is not None:
        replaced(file.read_text(encoding="utf-8"), NAME, "")
    chosen = [row for row in BENCHMARKS if not options.only or row.name in options.only]
    if options.quick:
        chosen = list({(row.name, row.quick): row for row in chosen if row.quick is not None}.values())
    measured = []
    for benchmark in chosen:
        print(f"\n== {benchmark.name} {' '.join(flags_of(benchmark, options.quick))}\n", flush=True)
        measured.append(run(benchmark, options.quick))
        if file is not None:
            file.write_text(replaced(file.read_text(encoding="utf-8"), NAME, table(measured)), encoding="utf-8")
    print(f"\n{table(measured)}")


def flags_of(benchmark: Benchmark, quick: bool) -> list[str]:
    """The flags that a benchmark is run with."""
    return list((benchmark.quick or ()) if quick else benchmark.flags)


def run(benchmark: Benchmark, quick: bool) -> Measured:
    """One benchmark's ratios, measured in a process of its own; in this one where it is quick."""
    flags = flags_of(benchmark, quick)
    before = os.getloadavg()[0]
    if quick:
        ratios = ratios_of(benchmark.name, flags)
    else:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            ratios = pool.submit(ratios_of, benchmark.name, flags).result()
    return Measured(benchmark, tuple(ratios), (before, os.getloadavg()[0]))


def table(measured: Sequence[Measured]) -> str:
    """When, where and with what it was measured, and a row for each ratio, as Markdown."""
    from analysis.machine.provenance import environment

    made = environment()
    hardware, versions = made["hardware"], made["versions"]
    lines = [
        f"Measured on {time.strftime('%Y-%m-%d')} by `make bench`: {hardware['system']}, {hardware['cores']} cores, "
        f"{hardware['memory_gb']:.0f} GB, {', '.join(hardware['gpus']) or 'no GPU'}; Python {versions['python']}, "
        f"torch {versions['torch']}, transformers {versions['transformers']}.",
        "",
        "| benchmark | what | ratio of | ratio | over rounds | load before, after |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    for row in measured:
        for ratio in row.ratios:
            within = "" if ratio.low is None or ratio.high is None else f"{ratio.low:.2f} to {ratio.high:.2f}"
            load = f"{row.load[0]:.1f}, {row.load[1]:.1f}"
            cells = (row.benchmark.name, ratio.what, ratio.of, f"{ratio.value:.2f}", within, load)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
