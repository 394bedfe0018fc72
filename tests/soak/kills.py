"""Kill verbs of the command line at any moment, and look at what they leave.

`python -m tests.soak.kills 100 FOLDER`; exits with 1 where the next runs leave anything.
"""

import argparse
import contextlib
import io
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

VERBS: dict[str, list[str]] = {
    "record": ["record", "--prompt", "ben is", "--gen-length", "4", "--steps", "2", "--out", "one.safetensors"],
    "prune": ["prune", "--method", "magnitude", "--out", "pruned"],
    "evaluate": ["evaluate", "--tasks", "bundled_agreement", "--limit", "2", "--out", "scores.json"],
}
WRITTEN = {"one.safetensors", "pruned", "scores.json", "scores.items.jsonl"}


def begun(folder: Path, arguments: Sequence[str]) -> int:
    """The process id of a verb that begins in a folder. A fork, so that nothing is imported again."""
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException), contextlib.redirect_stderr(io.StringIO()):
            os.chdir(folder)
            from analysis.__main__ import main

            with contextlib.redirect_stdout(io.StringIO()):
                code = main([*arguments, "--device", "cpu", "--overwrite"])
        os._exit(code)
    return child


def whole(folder: Path, name: str) -> float:
    """Seconds that a verb takes that nobody kills. Raises AssertionError where it fails."""
    began = time.monotonic()
    _, status = os.waitpid(begun(folder, VERBS[name]), 0)
    assert os.waitstatus_to_exitcode(status) == 0, name
    return time.monotonic() - began


def killed(folder: Path, count: int, seed: int) -> tuple[int, int]:
    """Kills so many verbs, each at a random moment; returns how many were at work, and the most that lay there left by
    others than the last."""
    chance = random.Random(seed)
    takes = {name: whole(folder, name) for name in VERBS}
    at_work = most = 0
    for number in range(count):
        name = list(VERBS)[number % len(VERBS)]
        child = begun(folder, VERBS[name])
        time.sleep(chance.uniform(0, takes[name]))
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        at_work += os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        most = max(most, len(left(folder)))
    return at_work, most


def left(folder: Path) -> set[str]:
    """What lies in a folder beside what was asked for."""
    return {path.name for path in folder.iterdir()} - WRITTEN


def main(count: int, folder: Path) -> int:
    from analysis.jobs import evaluation, pruning, recordings  # noqa: F401
    from analysis.models import load  # noqa: F401

    place = folder / "out"
    place.mkdir(parents=True)
    os.environ["SINKSCOPE_HOME"], os.environ["TMPDIR"] = str(folder / "home"), str(folder / "tmp")
    (folder / "tmp").mkdir()
    at_work, most = killed(place, count, seed=0)
    for name in VERBS:
        whole(place, name)
    after = left(place) | left(folder / "tmp")
    print(f"{at_work} of {count} were killed at work, and at most {most} leftovers lay there.")
    print(f"After the next runs: {sorted(after) or 'none'}.")
    return int(bool(after))


if __name__ == "__main__":
    asked = argparse.ArgumentParser(prog="python -m tests.soak.kills", description=__doc__)
    asked.add_argument("count", type=int, help="commands to kill")
    asked.add_argument("folder", type=Path, help="a new folder for what they write")
    sys.exit(main(**vars(asked.parse_args())))
