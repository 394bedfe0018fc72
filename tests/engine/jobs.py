"""Jobs that only tests run: slow, deaf, hungry, broken. Importing this adds them; workers import it as a preload."""

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import Any
from unittest import mock

from analysis.jobs import JOBS, Job, Outcome, result_key
from analysis.models.checkpoint import find, fingerprint
from analysis.models.resident import resident_model
from analysis.specs import JobSpec, ModelSpec
from tests.helpers import there

CPU = ModelSpec(device="cpu")


class PacedSpec(JobSpec):
    """steps of `seconds` each. journal: a file that gets a line for each step. model: loaded first if `load`."""

    model: ModelSpec = CPU
    tag: str = ""
    steps: int = 3
    seconds: float = 0.05
    journal: str = ""
    load: bool = False


class OneSpec(JobSpec):
    """One thing to do: see the jobs."""

    model: ModelSpec = CPU
    tag: str = ""
    seconds: float = 0.0
    fail: bool = False
    journal: str = ""


def _write(journal: str, line: str) -> None:
    if journal:
        with open(journal, "a") as file:
            file.write(line + "\n")


def paced(spec: PacedSpec, context: Any) -> Outcome:
    """Steps that finish for good: a step found in the scratch folder is not done again."""
    if spec.load:
        resident_model(spec.model, context)
    _write(spec.journal, f"begin {spec.tag}")
    reused = 0
    for step in range(spec.steps):
        context.progress("working", step, spec.steps, finished=list(range(step)), pid=os.getpid())
        whole = context.scratch / str(step)
        if whole.exists():
            reused += 1
            continue
        time.sleep(spec.seconds)
        _write(spec.journal, f"step {step} {spec.tag}")
        context.log(f"step {step} is done")
        whole.write_text("x")
    _write(spec.journal, f"end {spec.tag}")
    key = result_key(paced, spec, fingerprint(there(find(spec.model.source))))
    file = context.folder / "answer"
    file.write_text(spec.tag)
    return Outcome({"reused": reused, "pid": os.getpid(), "shared": context.shared}, file, key)


def drawing(spec: PacedSpec, context: Any) -> Outcome:
    """A number of torch's and NumPy's global generators at every step, after seeding them once."""
    model = resident_model(spec.model, context)
    import numpy as np
    import torch

    torch.manual_seed(0)
    np.random.seed(0)
    drawn = []
    for step in range(spec.steps):
        context.progress("drawing", step, spec.steps)
        time.sleep(spec.seconds)
        drawn.append((torch.rand(1).item(), float(np.random.rand())))
    return Outcome({"drawn": drawn, "fingerprint": model.fingerprint})


def glance(spec: OneSpec, context: Any) -> Outcome:
    """Short: looks at the resident model, spoils the global random states, sleeps, perhaps fails."""
    model = resident_model(spec.model, context)
    import numpy as np
    import torch

    torch.manual_seed(99)
    np.random.seed(99)
    _write(spec.journal, f"glance {spec.tag}")
    end = time.monotonic() + spec.seconds
    while time.monotonic() < end:
        context.progress("glancing")
        time.sleep(0.02)
    if spec.fail:
        raise RuntimeError("the glance failed")
    return Outcome({"pid": os.getpid(), "source": model.spec.source})


def deaf(spec: OneSpec, context: Any) -> Outcome:
    """Sleeps without listening."""
    context.progress("not listening")
    time.sleep(spec.seconds)
    return Outcome({})


def hungry(spec: OneSpec, context: Any) -> Outcome:
    """Takes memory, page by page, until it is stopped."""
    held: list[bytearray] = []
    while True:
        context.progress("eating", len(held))
        held.append(bytearray(os.urandom(1024) * 32 * 1024))  # 32 MiB, written to
        time.sleep(0.02)


def broken(spec: OneSpec, context: Any) -> Outcome:
    """Raises."""
    context.progress("about to break")
    raise ZeroDivisionError("nothing to divide by\nand a second line")


def deadly(spec: OneSpec, context: Any) -> Outcome:
    """Ends its worker, whichever it is."""
    context.progress("about to die")
    os.kill(os.getpid(), signal.SIGKILL)
    return Outcome({})


def leaves_folder(spec: OneSpec, context: Any) -> Outcome:
    """Leaves a folder with a file in a folder."""
    made = context.folder / f"model-{spec.tag}"
    (made / "inner").mkdir(parents=True)
    (made / "inner" / "weights").write_bytes(b"w" * int(1000 + spec.seconds))
    key = result_key(leaves_folder, spec, fingerprint(there(find(spec.model.source))))
    return Outcome({"tag": spec.tag}, None, key, made)


def growing(spec: OneSpec, context: Any) -> Outcome:
    """A line every few milliseconds, in a file that may be read meanwhile, until it is asked to stop."""
    path = context.folder / "lines"
    context.grows(path)
    number = 0
    with path.open("w", encoding="utf-8") as file:
        while not context.stopping:
            file.write(f"line {number} ä\n")
            file.flush()
            number += 1
            context.progress("growing", number)
            time.sleep(0.01)
    return Outcome({"lines": number, "shared": context.shared})


def loads_slowly(spec: OneSpec, context: Any) -> Outcome:
    """Loads a model whose reading takes an hour and may take `seconds`."""
    from analysis.models import load, resident

    def read(*_: Any) -> None:
        context.progress("reading weights")
        time.sleep(3600)

    with mock.patch.object(load, "load", read), mock.patch.object(resident, "LOAD_SECONDS", spec.seconds):
        resident.loaded(spec.model, context)
    return Outcome({})


def weights_digest() -> str:
    """Called in a worker: a digest of every weight and buffer of the model it holds."""
    from analysis.models import resident

    digest = hashlib.sha256()
    for name, tensor in sorted(there(resident._resident).network.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().view(-1).numpy().tobytes())
    return digest.hexdigest()


def steps_of(journal: Path) -> list[str]:
    """The journal's lines."""
    return journal.read_text().splitlines() if journal.exists() else []


for _job in (
    Job("paced", "Take paced steps", paced, PacedSpec),
    Job("drawing", "Draw numbers", drawing, PacedSpec, stored=False),
    Job("glance", "Take a glance", glance, OneSpec, stored=False, short=True),
    Job("deaf", "Sleep", deaf, OneSpec, stored=False),
    Job("hungry", "Eat memory", hungry, OneSpec, stored=False),
    Job("broken", "Break", broken, OneSpec, stored=False),
    Job("deadly", "Die", deadly, OneSpec, stored=False),
    Job("growing", "Grow", growing, OneSpec, stored=False),
    Job("loads_slowly", "Load slowly", loads_slowly, OneSpec, stored=False, short=True),
    Job("leaves_folder", "Leave a folder", leaves_folder, OneSpec),
):
    JOBS.add(_job)
