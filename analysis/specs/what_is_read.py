"""Settings that a pruning reads; the others do not affect it and appear in no name and no command."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from analysis.specs.pruning import PARTS, PruneSpec
from analysis.specs.pruning_choices import ALLOCATIONS, METHODS, PATTERNS, QUANTIZERS, Reader
from analysis.specs.pruning_params import AS_STORED

_TEXT = ("data", "samples", "seq_len", "seed")  # of the calibration; the rest is about noise


def read_by(settings: Mapping[str, Any]) -> Callable[[str], bool]:
    """Return whether a pruning reads a setting: a field of `PruneSpec`, dotted inside a nested one, as
    `discount.sink_std`.

    settings: with its method; the allocation, pattern and worth of experts default as in `PruneSpec`.
    """
    stated = {field: settings.get(field, default) for field, default in _DECIDING.items()}
    method, allocation = METHODS.get(str(stated["method"])), ALLOCATIONS.get(str(stated["allocation"]))
    if method is None:
        return lambda name: True
    pattern = str(stated["pattern"])
    cuts_experts = pattern in PATTERNS and PATTERNS[pattern].cuts_experts
    rows = readers({**settings, "method": method.name})
    calibrated, noised = any(row.calibrated for row in rows), any(row.noised for row in rows)
    reads_text = calibrated or (allocation is not None and allocation.needs_outliers)
    draws_experts = cuts_experts and stated["expert_worth"] == "random"
    by_part = {
        "discount": any(row.discounted for row in rows),
        "steps": any(row.weighs_steps for row in rows),
        "quantization": len(rows) > 1,
    }
    by_name = {
        "quantization.bits": True,
        "expert_worth": cuts_experts,
        "ranking": method.ranking is not None,
        "norm": method.norm is not None,
    }
    if not method.removes:
        by_name |= dict.fromkeys(_ABOUT_REMOVAL, False)
    of_others = {name for row in ALLOCATIONS.values() for name in row.reads} - set(
        allocation.reads if allocation else ()
    )

    def is_read(name: str) -> bool:
        if name in by_name:
            return by_name[name]
        part, _, field = name.rpartition(".")
        if part == "calibration":
            return (draws_experts and field == "seed") or (reads_text if field in _TEXT else noised)
        if part in by_part:
            return by_part[part]
        return allocation is None or name not in of_others

    return is_read


_DECIDING = {name: PruneSpec.model_fields[name].default for name in ("method", "allocation", "pattern", "expert_worth")}
_ABOUT_REMOVAL = ("sparsity", "pattern", "allocation", "quota_scope", "expert_worth")


_QUANTIZED = {name: PARTS["quantization"].model_fields[name].default for name in ("bits", "quantizer")}


def readers(settings: Mapping[str, Any]) -> tuple[Reader, ...]:
    """Return the rows that decide what a pruning reads: of its method, and of its quantizer if weights are quantized.

    settings: as for `read_by`. Empty without a method; rows unknown to this version are left out.
    """
    method = METHODS.get(str(settings.get("method")))
    group = settings.get("quantization")
    stated = dict(group) if isinstance(group, Mapping) else {}
    bits, name = (
        settings.get(f"quantization.{field}", stated.get(field, default)) for field, default in _QUANTIZED.items()
    )
    quantizer = QUANTIZERS.get(str(name)) if isinstance(bits, int) and bits < AS_STORED else None
    return tuple(row for row in (method, quantizer) if row is not None)


def only_read(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a pruning, as `PruneSpec.model_dump` gives them, without those it does not look at."""
    kept: dict[str, Any] = {}
    is_read = read_by(parameters)
    for name, value in parameters.items():
        if name in PARTS and isinstance(value, Mapping):
            inner = {field: each for field, each in value.items() if is_read(f"{name}.{field}")}
            unquantized = inner == {"bits": AS_STORED}  # as in reports of versions without bits
            kept |= {name: inner} if inner and not unquantized else {}
        elif is_read(name):
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
