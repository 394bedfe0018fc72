"""Writing the token of a branch into a step of a sampler, which goes on from what the step has written."""

import math

from analysis.errors import UserError
from analysis.models.loaded import LoadedModel
from analysis.recording.steps import Choice
from analysis.sinks.token_states import TokenState
from analysis.specs import Branch


def write_branch(branch: Branch, choice: Choice, model: LoadedModel) -> None:
    """Writes the branch's token into what its step chose, in place. A token that the step chose anyway changes nothing.

    Raises UserError where the step's input is not the recorded one, or its position or token cannot be written.
    """
    position, length = branch.position, choice.tokens.shape[1]
    if choice.tokens[0].tolist() != list(branch.tokens):
        raise UserError(
            f"The text before step {branch.step} is not the recorded one: another device, precision or version may "
            "round otherwise. Record the prompt again, and branch from that recording."
        )
    if branch.token >= model.geometry.vocabulary or branch.token == model.mask_token:
        raise UserError(f"Token {branch.token} cannot be written. Choose another one of the model's vocabulary.")
    after = length <= position < choice.output.shape[1]
    free = choice.chosen[:, :length] | (choice.state == TokenState.UNDECIDED)
    if not after and not (position < length and free[0, position]):
        raise UserError(f"Position {position} is not open in step {branch.step}. Choose one that this step may write.")
    if choice.chosen[0, position] and choice.output[0, position] == branch.token:
        return
    choice.output[0, position] = branch.token
    choice.chosen[0, position] = True
    choice.confidence[0, position] = math.nan  # the model did not choose it
