"""A recording that was made elsewhere, as the job that would have made it."""

from pathlib import Path

from pydantic import ValidationError

from analysis.errors import UserError
from analysis.jobs import RecordSummary
from analysis.recording.trajectory_file import open_trajectory
from analysis.specs import ModelSpec, RecordSpec, Replay, sentence


def opened_recording(file: Path, called: str) -> tuple[RecordSpec, RecordSummary]:
    """What a recording was asked with, and what its job tells of it. called: as in `open_trajectory`.

    Raises UserError for a file that is no recording of a generation.
    """
    trajectory = open_trajectory(file, called)
    info = trajectory.info
    if isinstance(info.sampling, Replay):
        raise UserError("This file holds forwards over given inputs, not a recorded generation. Open one of those.")
    try:
        spec = info.request(ModelSpec(source=info.model.source))
    except ValidationError as error:
        raise UserError(f"{called} cannot be taken in: {sentence(error)}") from error
    summary: RecordSummary = {
        "source": info.model.source,
        "text": info.final_text,
        "steps": trajectory.steps,
        "seed": info.seed,
        "fingerprint": info.model.fingerprint,
        "experts": info.model.expert_count,
        "imported": True,
    }
    return spec, summary
