"""Mutations of product code, each of which a fast test must notice: `python -m tests.mutations`, run by hand.

Every mutation changes one place in a temporary copy of the project and runs the tests that should fail there. First all
of these tests run unchanged. `--only WORD` runs the mutations of files whose path holds the word.
"""

import argparse
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
KILLED_AT_LEAST = 28
CRASHED = 70  # no status of pytest
LIBRARIES = (
    "hypothesis",
    "pandas",
    "plotly.graph_objects",
    "scipy.stats",
    "statsmodels.api",
    "streamlit",
    "torch",
    "transformers",
)


class Mutation(NamedTuple):
    """A place in a file and what stands there instead. tests: of pytest, a file with words for `-k` after it."""

    file: str
    before: str
    after: str
    tests: tuple[str, str]


def _of(test: str, words: str, file: str, *changes: tuple[str, str]) -> list[Mutation]:
    return [Mutation(file, before, after, (test, words)) for before, after in changes]


SIGNIFICANCE, PLANNING = "tests/statistics/test_clustered.py", "tests/evaluation/test_planning.py"
FIGURES, PLACEMENT = "tests/figures/test_figures.py", "tests/engine/test_placement.py"

MUTATIONS = (
    *_of(
        SIGNIFICANCE,
        "effective",
        "analysis/statistics/clustered.py",
        ("items / design / wider**2", "items / design / wider"),
        ("share * (1 - share) / (items - 1)), 1)", "share * (1 - share) / (items - 1)), 0)"),
    ),
    *_of(
        SIGNIFICANCE,
        "mcnemar or wilson",
        "analysis/statistics/clustered.py",
        ("alpha=1 - LEVEL", "alpha=2 - 2 * LEVEL"),
        ("[[0, only_first], [only_second, 0]]", "[[0, only_first], [only_first, 0]]"),
    ),
    *_of(FIGURES, "stand_as or clicked", "analysis/figures/style.py", ("[rows - 0.5, -0.5]", "[-0.5, rows - 0.5]")),
    *_of(
        FIGURES,
        "stand_as or clicked",
        "pages/parts/charts.py",
        ("return int(self.y), int(self.x)", "return int(self.x), int(self.y)"),
    ),
    *_of(
        PLACEMENT,
        "",
        "analysis/engine/placement.py",
        ("(held == model or model is None)", "(model is None)"),
        ("if address not in taken", "if address in taken"),
        ("long_job.heard and long_job.told is None", "long_job.told is None"),
        ("long_job.place.address not in busy and", ""),
        ("not (record.brief and long_job.record.brief)", "not record.brief"),
        ("if record.brief and not refused:", "if record.brief:"),
        ("(long_job for long_job in work.long_jobs if long_job.heard)", "(long_job for long_job in work.long_jobs)"),
    ),
    *_of(
        "tests/sinks/test_agreement.py",
        "",
        "analysis/sinks/agreement.py",
        ("before[:-1] + (second == token)", "before[1:] + (second == token)"),
        ("2 * common / (first + second)", "common / max(first, second)"),
        ("np.where(written == 0, left_out, 0)", "left_out"),
        ("lengths[row - 1, column] >= lengths[row, column - 1]", "lengths[row - 1, column] < lengths[row, column - 1]"),
    ),
    *_of(
        "tests/sinks/test_definitions.py",
        "loop or gaussian",
        "analysis/sinks/definitions.py",
        ("row.mean + np.float32(k) * row.std", "row.mean - np.float32(k) * row.std"),
        ("ndtr(-threshold", "ndtr(threshold"),
        ("(row.count - 1) / row.count", "row.count / (row.count - 1)"),
    ),
    *_of(
        "tests/sinks/test_discount.py",
        "not published",
        "analysis/sinks/discount.py",
        (
            "np.float32(1) - np.float32(params.discount_strength) * scores",
            "np.float32(1) - np.float32(params.discount_strength) * scores**2",
        ),
        ('"clean": (total + 1 - steps) / total', '"clean": (total - steps) / total'),
        ("row.mean + params.sink_std * row.std)", "row.mean + row.std)"),
    ),
    *_of(
        "tests/sinks/test_metrics.py",
        "",
        "analysis/sinks/metrics.py",
        ("(2 * rank - count - 1) * ordered", "(2 * rank - count) * ordered"),
        ("np.log(np.maximum(count, 2))", "np.log2(np.maximum(count, 2))"),
    ),
    *_of(
        "tests/pruned/test_compare.py",
        "",
        "analysis/pruned/compare.py",
        ("first + second - 2 * both", "first + second - both"),
        ("p * (1 - q) + q * (1 - p)", "p * (1 - p) + q * (1 - q)"),
        ("_ratio(p * q, p + q - p * q)", "_ratio(p * q, p + q)"),
    ),
    *_of(
        PLANNING,
        "textbooks or kishs or more_items or expected",
        "analysis/evaluation/planning.py",
        ("1 + alike * (taken - 1) * np.array(", "1 + alike * np.array("),
        ("level = (1 - LEVEL) / tests", "level = 1 - LEVEL"),
    ),
    *_of(
        PLANNING,
        "pooled or few_seeds",
        "analysis/evaluation/plan_noise.py",
        ("weights=[each.n for each in crossed]", "weights=None"),
        ("spread = max(noise.seed_spread, float(", "spread = max(0.0, float("),
    ),
    *_of(
        "tests/engine/test_publishing.py",
        "card_names",
        "analysis/pruning/card.py",
        ("{100 * part:+.1f}", "{part:+.1f}"),
        ('.replace("|", "\\\\|")', '.replace("|", "|")'),
        ('data.get("license")', 'data.get("licence")'),
    ),
    *_of(
        "tests/engine/test_stored_tables.py",
        "mixed",
        "analysis/table_files.py",
        ("len(types) > 1 or", "len(types) > 2 or"),
    ),
    *_of(
        "tests/evaluation/test_conditions.py",
        "",
        "analysis/evaluation/conditions.py",
        ("return tuple(sorted(titles))", "return tuple(titles)"),
    ),
    *_of(
        "tests/findings/test_accuracies.py",
        "",
        "analysis/findings/accuracies.py",
        ("if gain <= floor:", "if gain >= floor:"),
    ),
    *_of(
        "tests/figures/test_suggestion.py",
        "",
        "analysis/figures/tuning.py",
        ("[*references.values(), *(floor or ())]", "[*references.values()]"),
    ),
    *_of(
        "tests/ui/test_tokens.py",
        "",
        "pages/parts/tokens.py",
        ('("changed", not unchanged)', '("changed", unchanged)'),
        ("escape(word.replace(", "(word.replace("),
    ),
)


def main() -> int:
    """Run the mutations and say which survive. Returns 0 where enough are killed, 2 where tests fail without one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", metavar="WORD", help="mutations of files whose path holds it")
    only = parser.parse_args().only
    chosen = [mutation for mutation in MUTATIONS if only in mutation.file]
    began = time.monotonic()
    for library in LIBRARIES:
        importlib.import_module(library)
    with tempfile.TemporaryDirectory(prefix="sinkscope-mutations-") as folder:
        copy = Path(folder) / "project"
        _copy(copy)
        for test, words in dict.fromkeys(mutation.tests for mutation in chosen):
            if _pytest(copy, test, words, keep_compiled=True) != 0:
                print(f"{test} fails without any mutation.", file=sys.stderr)
                return 2
        survived = 0
        for number, mutation in enumerate(chosen, start=1):
            print(f"{number}/{len(chosen)} {mutation.file}", file=sys.stderr, flush=True)
            if not _killed(copy, mutation):
                survived += 1
                change = f"{mutation.before!r} → {mutation.after!r}"
                print(f"survived: {mutation.file}: {change} ({mutation.tests[0]})", flush=True)
    killed = len(chosen) - survived
    print(f"{killed} of {len(chosen)} mutations killed in {time.monotonic() - began:.0f} s.")
    return 0 if killed >= min(KILLED_AT_LEAST, len(chosen)) else 1


def _copy(to: Path) -> None:
    """The files that git knows, as they are in the working tree."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)  # of what is compiled, an older time than a mutation's


def _killed(copy: Path, mutation: Mutation) -> bool:
    """Whether its tests fail with a mutation. Raises ValueError where its place is not there exactly once."""
    path = copy / mutation.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.before) != 1:
        raise ValueError(f"{mutation.file} holds {mutation.before!r} {text.count(mutation.before)} times, not once")
    path.write_text(text.replace(mutation.before, mutation.after), encoding="utf-8")
    try:
        return _pytest(copy, *mutation.tests) == 1  # tests ran, and some failed
    finally:
        path.write_text(text, encoding="utf-8")


def _pytest(copy: Path, test: str, words: str, keep_compiled: bool = False) -> int:
    """Return pytest's exit status, from a fork of this process, which has loaded the libraries and nothing that is
    mutated. keep_compiled: for the runs after this one, which compile only what is mutated.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = CRASHED
    try:
        os.chdir(copy)
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "HYPOTHESIS_STORAGE_DIRECTORY": str(copy / ".hypothesis")}
        for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
            del sys.modules[name]
        sys.path[:] = [str(copy), *(path for path in sys.path if Path(path).resolve() != ROOT)]
        sys.dont_write_bytecode = not keep_compiled
        # Without the conftest, whose imports take longer than these tests; Hypothesis's own profile sets no deadline.
        arguments = ["-q", "-x", "-p", "no:cacheprovider", "--noconftest", "--hypothesis-profile=ci", test]
        status = pytest.main([*arguments, *(["-k", words] if words else [])])
    finally:
        os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
