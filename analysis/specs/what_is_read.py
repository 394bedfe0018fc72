"""Which settings a pruning looks at: the others are no condition of it, and stand in no name and no command."""

from collections.abc import Mapping
from typing import Any

from analysis.specs.pruning import PruneSpec
from analysis.specs.pruning_choices import ALLOCATIONS, METHODS, PATTERNS

_TEXT = ("data", "samples", "seq_len", "seed")  # of the calibration; the rest is about noise


def is_read(name: str, settings: Mapping[str, Any]) -> bool:
    """Return whether a pruning looks at a setting.

    name: a field of `PruneSpec`; inside a nested one with a dot, as `discount.sink_std`. settings: with its method; an
    allocation, pattern and worth of experts that it lacks are the default ones.
    """
    stated = {field: settings.get(field, PruneSpec.model_fields[field].default) for field in _DECIDING}
    method, allocation = METHODS.get(str(stated["method"])), ALLOCATIONS.get(str(stated["allocation"]))
    cuts_experts = stated["pattern"] in PATTERNS and PATTERNS[str(stated["pattern"])].cuts_experts
    if method is None:
        return True
    part, _, field = name.rpartition(".")
    if part == "calibration":
        drawn = cuts_experts and stated["expert_worth"] == "random" and field == "seed"
        reads_text = method.calibrated or (allocation is not None and allocation.needs_outliers)
        return drawn or (reads_text if field in _TEXT else method.noised)
    if part == "discount":
        return method.discounted
    if part == "steps":
        return method.weighs_steps
    if name == "expert_worth":
        return cuts_experts
    if name == "ranking":
        return method.ranking is not None
    if name == "norm":
        return method.norm is not None
    if allocation is None:
        return True
    return name in allocation.reads or not any(name in row.reads for row in ALLOCATIONS.values())


_DECIDING = ("method", "allocation", "pattern", "expert_worth")


def only_read(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a pruning, as `PruneSpec.model_dump` gives them, without those it does not look at."""
    kept: dict[str, Any] = {}
    for name, value in parameters.items():
        if name in ("calibration", "discount", "steps") and isinstance(value, Mapping):
            inner = {field: each for field, each in value.items() if is_read(f"{name}.{field}", parameters)}
            kept |= {name: inner} if inner else {}
        elif is_read(name, parameters):
            kept[name] = value
    return kept
