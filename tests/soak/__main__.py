"""`python -m tests.soak`: asks one engine for many mixed jobs from several sessions, cancels some, kills its worker now
and then, and prints one table: what was asked, how it ended, what was lost, and the server's memory.

The exit status is 1 where a job was lost, ran twice, or failed without a reason.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from analysis.engine import Engine, JobRecord
from analysis.errors import UserError
from analysis.specs import CalibrationParams, EvaluateSpec, LLaDASampling, PruneSpec, RecordSpec, Spec, SweepSpec
from tests.engine.helpers import engine_in
from tests.engine.jobs import CPU, OneSpec, PacedSpec
from tests.engine.test_studies import small as study_spec
from tests.helpers import tiny_llada

PROMPTS = ("mia has a dog .", "ben is in the car .", "kate goes to the zoo .")


def question(number: int, chance: random.Random, journal: Path, tiny: str, planned: float) -> tuple[str, Spec]:
    """What one session asks: mostly short jobs; `planned` of all are sweeps and studies."""
    if chance.random() < planned:
        if chance.random() < 0.3:
            return "study", study_spec(tiny, seed=number)
        calibration = CalibrationParams(samples=2, seq_len=32, step_interval=25, seed=number)
        return "sweep", SweepSpec(
            model=CPU,
            methods=("magnitude",),
            sparsities=(0.5,),
            seeds=(number % 50,),
            pruning=PruneSpec(calibration=calibration),
            evaluation=EvaluateSpec(tasks=("bundled_agreement",), limit=2),
        )
    kind = chance.choices(("record", "paced", "glance", "leaves_folder", "broken"), (4, 4, 2, 1, 0.3))[0]
    if kind == "record":
        prompt = chance.choice(PROMPTS)
        return kind, RecordSpec(model=CPU, prompt=prompt, sampling=LLaDASampling(gen_length=8, steps=4), seed=number)
    if kind == "paced":
        return kind, PacedSpec(tag=f"soak{number}", steps=chance.randint(1, 20), journal=str(journal))
    return kind, OneSpec(tag=f"soak{number}")


def session(engine: Engine, name: str, numbers: list[int], options: argparse.Namespace, asked: dict[str, str]) -> None:
    """One visitor: asks, waits a little, cancels now and then."""
    chance = random.Random(f"{options.seed}-{name}")
    for number in numbers:
        kind, spec = question(number, chance, options.journal, options.tiny, options.planned)
        with suppress(UserError):
            record = engine.submit(kind, spec, name)
            asked[record.id] = kind
            pause = chance.uniform(0, 2 * options.pause)
            if chance.random() < options.cancel:
                soon = chance.uniform(0, min(pause, 1))  # before most jobs have ended
                time.sleep(soon)
                engine.cancel(record.id)
                pause -= soon
            time.sleep(pause)


def killer(engine: Engine, options: argparse.Namespace, over: threading.Event, killed: list[int]) -> None:
    """Kills a worker at random moments, at most so often."""
    chance = random.Random(options.seed)
    while len(killed) < options.kills and not over.wait(chance.uniform(0.5, 1.5) * options.every):
        pids = engine.worker_pids()
        if pids:
            with suppress(ProcessLookupError):
                os.kill(chance.choice(pids), signal.SIGKILL)
                killed.append(pids[0])


def main(arguments: list[str] | None = None) -> int:
    """Runs it and prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--cancel", type=float, default=0.1, help="share of the jobs that is cancelled")
    parser.add_argument("--kills", type=int, default=6, help="workers that are killed")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two of them, on average")
    parser.add_argument("--planned", type=float, default=0.02, help="share of sweeps and studies")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between two questions of a session")
    parser.add_argument("--patience", type=float, default=3600.0, help="seconds in which all must have ended")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="sinkscope-soak-"))
    options.journal, options.tiny = folder / "journal", tiny_llada(folder / "tiny", 0)
    began, memory = time.monotonic(), psutil.Process().memory_info
    with engine_in(folder / "store", devices=["cpu"]) as engine:
        before, over = memory().rss, threading.Event()
        asked: dict[str, Any] = {}
        killed: list[Any] = []
        threads = [
            threading.Thread(
                target=session,
                args=(engine, f"s{number}", list(range(number, options.jobs, options.sessions)), options, asked),
            )
            for number in range(options.sessions)
        ]
        threads.append(threading.Thread(target=killer, args=(engine, options, over, killed)))
        for thread in threads:
            thread.start()
        deadline, half = time.monotonic() + options.patience, 0
        while time.monotonic() < deadline:
            asking, jobs = any(thread.is_alive() for thread in threads[:-1]), engine.jobs()
            half = half or (memory().rss if 2 * sum(job.ended for job in jobs) > options.jobs else 0)
            if not asking and all(job.ended for job in jobs):
                break
            time.sleep(1)
        over.set()
        threads[-1].join()
        jobs, after = engine.jobs(), memory().rss
    return report(jobs, asked, killed, options, (before, half, after), time.monotonic() - began)


def report(
    jobs: list[JobRecord],
    asked: dict[str, str],
    killed: list[int],
    options: argparse.Namespace,
    memory: tuple[int, int, int],
    seconds: float,
) -> int:
    """Prints the table; returns the exit status."""
    ended = Counter(job.state for job in jobs)
    lost = [job_id for job_id in asked if job_id not in {job.id for job in jobs}]
    unended = [job for job in jobs if not job.ended]
    unexplained = [job for job in jobs if job.state == "failed" and not job.reason]
    steps = Counter(options.journal.read_text().splitlines() if options.journal.is_file() else [])
    tries = {f"end {job.spec.get('tag')}": 1 + len(job.losses) for job in jobs}
    twice = [line for line, count in steps.items() if line.startswith("end") and count > tries.get(line, 1)]
    retried = [job for job in jobs if job.losses]
    rows = {
        "asked by the sessions (children of sweeps and studies come to it)": len(asked),
        "jobs in all": len(jobs),
        **{state: ended[state] for state in ("done", "cancelled", "failed", "interrupted")},
        "failed without a reason": len(unexplained),
        "not ended": len(unended),
        "lost": len(lost),
        "ran to the end more often than they were tried": len(twice),
        "workers killed": len(killed),
        "jobs tried again": len(retried),
        "tries that ended with their worker": sum(len(job.losses) for job in jobs),
        "of the jobs tried again, done": sum(job.state == "done" for job in retried),
        "server memory before, MB": round(memory[0] / 1e6),
        "server memory when half had ended, MB": round(memory[1] / 1e6),
        "server memory after, MB": round(memory[2] / 1e6),
        "seconds": round(seconds),
    }
    for kind, count in sorted(Counter(asked.values()).items()):
        rows[f"of these {kind}"] = count
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:<{width}}  {value:>7}")
    reasons = Counter(job.reason.split(".")[0] for job in jobs if job.state == "failed")
    for reason, count in reasons.most_common():
        print(f"  failed {count} x: {reason}")
    return 1 if lost or unended or unexplained or twice else 0


if __name__ == "__main__":
    sys.exit(main())
