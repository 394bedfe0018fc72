"""Run all benchmarks that compare two ways of doing the same, and write their ratios into benchmarks/ratios.md.

`python -m benchmarks [--quick] [--only NAME ...] [--into FILE]`, or `make bench`: about half an hour on two idle cores.
Each benchmark has a process of its own. What it prints is printed; its rows in the table between the marks of the file
are replaced when it is done. The others stay, with the day they were measured on, if the machine and the versions are
still the same.
`--quick`: the smallest sizes, one round, one process, and no file but one that is named: does everything run?
"""

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ratios import ratios_of
from benchmarks.table import Row, read, rows_of, written
from docs.marks import between, replaced

FILE = Path(__file__).with_name("ratios.md")
NAME = "ratios"


@dataclass(frozen=True)
class Benchmark:
    """A module of this folder whose `main` takes flags and returns ratios. quick: its flags for the smallest size; None
    where even that takes long.
    """

    name: str
    flags: tuple[str, ...]
    quick: tuple[str, ...] | None

    def command(self, quick: bool = False) -> str:
        """Return the command, after `python -m benchmarks.`."""
        return " ".join((self.name, *flags_of(self, quick)))


BENCHMARKS = (
    Benchmark("observing", (), ("--quick",)),
    Benchmark("observing", ("--length", "1024"), ("--quick",)),
    Benchmark("observing", ("--length", "2048", "--rounds", "5"), ("--quick",)),
    Benchmark("observing", ("--dtype", "bfloat16"), ("--dtype", "bfloat16", "--quick")),
    Benchmark("observing", ("--dtype", "bfloat16", "--length", "1024"), ("--dtype", "bfloat16", "--quick")),
    Benchmark(
        "observing", ("--dtype", "bfloat16", "--length", "2048", "--rounds", "5"), ("--dtype", "bfloat16", "--quick")
    ),
    Benchmark("pruning", (), ("--quick",)),
    Benchmark("sweep", (), ("--samples", "2", "--seq-len", "16", "--sparsities", "0.6", "--thresholds", "1")),
    Benchmark("sweep", ("--method", "sink-sparsegpt"), None),
    Benchmark("likelihood", ("--draws", "32"), ("--items", "1", "--seeds", "4", "--draws", "4")),
    Benchmark("noise", (), ("--samples", "2", "--seq-len", "16", "--seeds", "2")),
    Benchmark("threads", (), None),
)


def main(arguments: list[str] | None = None) -> None:
    """Run, print, and write the table. Raises ValueError for a file without the marks, before anything runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smallest sizes: does everything run?")
    parser.add_argument("--only", nargs="+", default=[], help="names of benchmarks; all when left out")
    parser.add_argument("--into", type=Path, help="the file with the table (default benchmarks/ratios.md)")
    options = parser.parse_args(arguments)
    file = options.into or (None if options.quick else FILE)
    by_command = {} if file is None else read(between(file.read_text(encoding="utf-8"), NAME))
    chosen = [row for row in BENCHMARKS if not options.only or row.name in options.only]
    if options.quick:
        chosen = list({(row.name, row.quick): row for row in chosen if row.quick is not None}.values())
    order = [row.command(options.quick) for row in (chosen if options.quick else BENCHMARKS)]
    for benchmark in chosen:
        command = benchmark.command(options.quick)
        print(f"\n== {command}\n", flush=True)
        by_command[command] = run(benchmark, options.quick)
        if file is not None:
            table = written(by_command, order)
            file.write_text(replaced(file.read_text(encoding="utf-8"), NAME, table), encoding="utf-8")
    print(f"\n{written(by_command, order)}")


def flags_of(benchmark: Benchmark, quick: bool) -> list[str]:
    """The flags that a benchmark is run with."""
    return list((benchmark.quick or ()) if quick else benchmark.flags)


def run(benchmark: Benchmark, quick: bool) -> list[Row]:
    """One benchmark's rows, measured in a process of its own; in this one where it is quick."""
    flags = flags_of(benchmark, quick)
    before = os.getloadavg()[0]
    if quick:
        ratios = ratios_of(benchmark.name, flags)
    else:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            ratios = pool.submit(ratios_of, benchmark.name, flags).result()
    return rows_of(benchmark.command(quick), ratios, (before, os.getloadavg()[0]))


if __name__ == "__main__":
    main()
