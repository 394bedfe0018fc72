"""Jobs that end with their worker: which are retried, where, and with what message."""

from collections.abc import Mapping, Sequence

from analysis.engine.cluster import Place
from analysis.engine.records import JobRecord, Loss
from analysis.words import listed

RETRIES = 2  # retries of a job that ended with its worker
HAND_BACKS = 20  # how often departing workers may hand a job back

DIED = "The worker process died while running this job: it was killed, or the machine ran out of memory or went away."
TOO_BIG = (
    "The job ran out of memory: its worker took more than it may and was restarted. Take a smaller model or less text, "
    "or allow more with SINKSCOPE_MEMORY_LIMIT."
)
SILENT = "The worker did not answer for {:.0f} seconds: it was stopped, or it hangs. It was ended."
FORGOTTEN = "The scheduler was restarted while this job ran and does not know it any more."


def verdict(record: JobRecord, loss: Loss) -> str:
    """Return why a job that ended with its worker is given up; empty where it is tried again."""
    losses = (*record.losses, loss)
    if loss.handed_back:
        times = sum(loss.handed_back for loss in losses)
        if times <= HAND_BACKS:
            return ""
        return f"{loss.why} That was the {times}th time. Give the workers a longer lifetime."
    died = [loss for loss in losses if not loss.handed_back]
    if len(died) <= RETRIES:
        return ""
    names = list(dict.fromkeys(loss.worker for loss in died))
    advice = "" if loss.why in (TOO_BIG, FORGOTTEN) else " Take a smaller model or less text if memory was short."
    return f"{loss.why} {len(died)} tries ended so, on {listed(names)}.{advice}"


def told(losses: Sequence[Loss]) -> list[tuple[float, str]]:
    """A line for a job's log on every try that ended with its worker, each with its time."""
    lines, died = [], 0
    for loss in losses:
        died += not loss.handed_back
        again = "It goes on elsewhere." if loss.handed_back else f"It is tried again ({died} of {RETRIES})."
        lines.append((loss.time, f"On {loss.worker}: {loss.why} {again}"))
    return lines


def untried(record: JobRecord, places: Mapping[str, Place]) -> dict[str, Place]:
    """The places whose worker has not ended under this job."""
    tried = {loss.worker for loss in record.losses if not loss.handed_back}
    return {address: place for address, place in places.items() if place.device not in tried}
