"""Settings that a pruning reads; the others do not affect it and appear in no name and no command."""

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.specs.pruning import PARTS, PruneSpec
from analysis.specs.pruning_choices import ALLOCATIONS, METHODS, PATTERNS, QUANTIZERS, Reader
from analysis.specs.pruning_params import AS_STORED

_TEXT = ("data", "samples", "seq_len", "seed")  # of the calibration; the rest is about noise


def is_read(name: str, settings: Mapping[str, Any]) -> bool:
    """Return True if a pruning reads a setting.

    name: a field of `PruneSpec`, dotted inside a nested one, as `discount.sink_std`. settings: with its method; the
    allocation, pattern and worth of experts default as in `PruneSpec`.
    """
    stated = {field: settings.get(field, PruneSpec.model_fields[field].default) for field in _DECIDING}
    method, allocation = METHODS.get(str(stated["method"])), ALLOCATIONS.get(str(stated["allocation"]))
    cuts_experts = stated["pattern"] in PATTERNS and PATTERNS[str(stated["pattern"])].cuts_experts
    if method is None:
        return True
    rows = readers({**settings, "method": method.name})
    part, _, field = name.rpartition(".")
    if part == "calibration":
        drawn = cuts_experts and stated["expert_worth"] == "random" and field == "seed"
        reads_text = any(row.calibrated for row in rows) or (allocation is not None and allocation.needs_outliers)
        return drawn or (reads_text if field in _TEXT else any(row.noised for row in rows))
    if part == "discount":
        return any(row.discounted for row in rows)
    if part == "steps":
        return any(row.weighs_steps for row in rows)
    if part == "quantization":
        return field == "bits" or len(rows) > 1
    if not method.removes and name in _ABOUT_REMOVAL:
        return False
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
_ABOUT_REMOVAL = ("sparsity", "pattern", "allocation", "quota_scope", "expert_worth")


def readers(settings: Mapping[str, Any]) -> tuple[Reader, ...]:
    """Return the rows that decide what a pruning reads: of its method, and of its quantizer if weights are quantized.

    settings: as for `is_read`. Empty without a method; rows unknown to this version are left out.
    """
    method = METHODS.get(str(settings.get("method")))
    group = settings.get("quantization")
    stated = dict(group) if isinstance(group, Mapping) else {}
    bits, name = (
        settings.get(f"quantization.{field}", stated.get(field, PARTS["quantization"].model_fields[field].default))
        for field in ("bits", "quantizer")
    )
    quantizer = QUANTIZERS.get(str(name)) if isinstance(bits, int) and bits < AS_STORED else None
    return tuple(row for row in (method, quantizer) if row is not None)


def only_read(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a pruning, as `PruneSpec.model_dump` gives them, without those it does not look at."""
    kept: dict[str, Any] = {}
    for name, value in parameters.items():
        if name in PARTS and isinstance(value, Mapping):
            inner = {field: each for field, each in value.items() if is_read(f"{name}.{field}", parameters)}
            unquantized = inner == {"bits": AS_STORED}  # as in reports of versions without bits
            kept |= {name: inner} if inner and not unquantized else {}
        elif is_read(name, parameters):
            kept[name] = value
    return kept


def held_against(rows: Sequence[Reader], relation: str) -> tuple[str, ...] | None:
    """Return the names of the rows that a pruning's rows are compared with: for each that discounts, its `relation`,
    such as `control`; the others themselves. None if one names none, and if none discounts.
    """
    others = [getattr(row, relation, None) if row.discounted else row.name for row in rows]
    if None in others or not any(row.discounted for row in rows):
        return None
    return tuple(map(str, others))
