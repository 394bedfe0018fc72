"""Discounts on other tokens than the sinks, for the methods that are controls of a discount."""

from analysis.calibration.noised_text import calibration_states, clean_states
from analysis.models.loaded import LoadedModel
from analysis.sinks.sham import Moved
from analysis.specs import METHODS, PruneSpec


def moved_of(model: LoadedModel, spec: PruneSpec, clean: bool = False) -> Moved | None:
    """Return the function that moves the discount from the sinks to other tokens; None where the method discounts
    sinks. clean: whether the tokens that it is given are those of the clean text.
    """
    placebo = METHODS[spec.method].tokens
    if placebo == "sinks":
        return None
    states = clean_states if clean else calibration_states
    return Moved(placebo, lambda tokens: states(model, tokens), spec.calibration.seed)
