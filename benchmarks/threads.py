"""Cost of waiting: a pruning on the command line, alone and three at once, by how its threads wait for each other.

`python -m benchmarks.threads [--rounds 3] [--quick]`: real processes of `python -m analysis prune`; in every round each
way of waiting runs once alone and once three times at the same time. It prints medians of paired rounds as ratios to
SinkScope's own choice, so that other work on the machine disturbs all alike: above 1 is slower than SinkScope's.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from analysis.machine.process import SPIN_COUNT, allotted_cpus
from benchmarks.ratios import Ratio, paired

OURS = f"SinkScope's: looks {int(SPIN_COUNT):,} times, then sleeps"
WAYS: dict[str, dict[str, str]] = {
    OURS: {},
    "GNU OpenMP's own: looks 300,000 times": {"GOMP_SPINCOUNT": "300000"},
    "looks 100,000 times": {"GOMP_SPINCOUNT": "100000"},
    "passive: sleeps at once": {"OMP_WAIT_POLICY": "PASSIVE"},
}
AT_ONCE = (1, 3)
ROOT = Path(__file__).parent.parent
_CLEARED = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def main(arguments: list[str] | None = None) -> list[Ratio]:
    """Print the table, and return its ratios. Raises CalledProcessError where a pruning fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds of each (default 3)")
    parser.add_argument("--quick", action="store_true", help="very little text and one round: does everything run?")
    options = parser.parse_args(arguments)
    seconds: dict[tuple[str, int], list[float]] = {(way, count): [] for way in WAYS for count in AT_ONCE}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1 if options.quick else options.rounds):
            for way, variables in WAYS.items():
                for count in AT_ONCE:
                    outs = [Path(folder) / f"{number}-{list(WAYS).index(way)}-{count}-{each}" for each in range(count)]
                    seconds[way, count].append(_prune(flags(options.quick), variables, outs))
    print(f"{allotted_cpus()} CPUs; prune {' '.join(flags(options.quick))}; {number + 1} rounds.\n")
    columns = " | ".join(f"{_name(count)}, s | {_name(count)}" for count in AT_ONCE)
    print(f"| threads wait | {columns} |\n| --- {'| ---: ' * 2 * len(AT_ONCE)}|")
    ratios = []
    for way in WAYS:
        cells = []
        for count in AT_ONCE:
            ratio = paired(f"prune, {_name(count)}", f"{way} / ours", seconds[way, count], seconds[OURS, count])
            cells += [f"{statistics.median(seconds[way, count]):.1f}", f"{ratio.value:.2f}"]
            if way != OURS:
                ratios.append(ratio)
        print(f"| {way} | {' | '.join(cells)} |")
    return ratios


def _name(count: int) -> str:
    return "alone" if count == 1 else f"{count} at once"


def flags(quick: bool) -> list[str]:
    """Return the pruning as flags of `prune`."""
    samples, length = ("2", "16") if quick else ("16", "128")
    return ["--method", "sink-wanda", "--samples", samples, "--seq-len", length, "--device", "cpu"]


def _prune(flags: list[str], variables: dict[str, str], outs: list[Path]) -> float:
    """Seconds until all of as many processes as there are folders have pruned."""
    environment = {name: text for name, text in os.environ.items() if name not in _CLEARED} | variables
    began = time.perf_counter()
    command = [sys.executable, "-m", "analysis", "prune", *flags, "--out"]
    running = [
        subprocess.Popen(
            [*command, str(out)], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        for out in outs
    ]
    error_texts = [process.communicate()[1] for process in running]
    took = time.perf_counter() - began
    for process, errors in zip(running, error_texts, strict=True):
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args, stderr=errors.decode())
    return took


if __name__ == "__main__":
    main()
