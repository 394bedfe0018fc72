"""A branch on the command line: `record --branch FILE` writes a recorded text on from another token."""

import argparse

from pydantic import ValidationError

from analysis.command_line.flags import a_path
from analysis.command_line.verb_flags import MODEL, Fields, flag
from analysis.errors import UserError, os_sentence, shorten
from analysis.models.checkpoint import find, fingerprint
from analysis.models.prompts import single_token
from analysis.recording.branching import branch_of, branch_request, deciding_step
from analysis.recording.trajectory_file import open_trajectory
from analysis.specs import Branch, ModelSpec, RecordSpec, sentence
from cache.keys import imported_key

_FLAGS = ("branch_position", "branch_token", "branch_step")
_KEPT = {
    "mass_dtype",
    "channels",
    "by_query",
    "drift",
}  # what a branch may be recorded with otherwise than what it leaves


BRANCH = flag(
    "--branch",
    type=a_path,
    metavar="FILE",
    help="a recording to leave: its steps are repeated with its own model, prompt, settings and seed, one of them "
    "writes another token, and the text is written on from there",
)
BRANCH_FLAGS = (
    flag("--branch-position", type=int, metavar="N", of=(Branch, "position"), help="With --branch."),
    flag("--branch-token", metavar="WORD", help="One token of the model's vocabulary, as text. With --branch."),
    flag(
        "--branch-step",
        type=int,
        metavar="N",
        of=(Branch, "step"),
        help="Default: the one that wrote what stands there in the end.",
    ),
)


def refuse_branch_flags(options: argparse.Namespace) -> None:
    """Raises UserError for flags that say something of a branch where there is none."""
    named = [name for name in _FLAGS if getattr(options, name) is not None]
    if named:
        raise UserError(f"--{named[0].replace('_', '-')} goes with --branch FILE, which names the recording to leave.")


def branch_spec(record: Fields[RecordSpec], options: argparse.Namespace) -> RecordSpec:
    """Return the job that records the branch. record: flags of a recording. Raises UserError for a branch that does not
    leave the recording."""
    if options.branch_position is None or options.branch_token is None:
        raise UserError("A branch needs --branch-position and --branch-token: where which token is written.")
    set_before = (leaf for leaf in record.leaves() if leaf.path[0] != "model" and leaf.flag not in _KEPT)
    said = next((leaf.flag for leaf in set_before if leaf.flag in options), None)
    if said is not None:
        raise UserError(f"A branch takes its settings from the recording. Leave out --{said.replace('_', '-')}.")
    try:
        trajectory = open_trajectory(options.branch)
        parent = imported_key(options.branch)
    except OSError as error:
        name = shorten(str(options.branch))
        raise UserError(f"'{name}' cannot be read: {os_sentence(error, str(options.branch))}") from error
    info = trajectory.info
    try:
        model = ModelSpec.model_validate({"source": info.model.source, **MODEL.given(options)})
        recorded = info.request(model)
    except ValidationError as error:
        raise UserError(f"This recording cannot be left: {sentence(error)}") from error
    token, word = _token(model, info.model.fingerprint, options.branch_token)
    position, step = options.branch_position, options.branch_step
    if not info.prompt_length <= position < trajectory.positions:
        raise UserError(
            f"Position {position} holds no token that was written. Choose one from {info.prompt_length} to "
            f"{trajectory.positions - 1}."
        )
    if step is None:
        step = deciding_step(trajectory, trajectory.steps - 1, position, finished=True)
    if step is None:
        raise UserError(f"No step wrote position {position}. Give --branch-step.")
    branch = branch_of(trajectory, parent, step, position, token, word)
    return branch_request(recorded, trajectory, branch).model_copy(update=record.given(options))


def _token(model: ModelSpec, recorded: str, word: str) -> tuple[int, str]:
    """The id and text of a word. recorded: the fingerprint of the model that was recorded."""
    checkpoint = find(model.source, model.paradigm)
    if checkpoint is None:
        raise UserError(f"'{model.source}' is not on this disk. Record with it first, or name it with --model.")
    if fingerprint(checkpoint) != recorded:
        raise UserError(f"'{model.source}' is not the model that was recorded. Name that one with --model.")
    token = single_token(checkpoint, word)
    if token is None:
        raise UserError(f"'{shorten(word)}' is no single token of '{model.source}'. Choose another one.")
    return token
