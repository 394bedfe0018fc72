"""What a pruned model is called: its method with what was chosen for it, the same wherever it is named.

`Sink-Wanda k2 α5 λ1 seed 0 · 50 %`: the method, its discount, the calibration seed where it reads text, the sparsity,
pattern and allocation where they are not the usual ones, and the bits where weights are quantized. What is finer stands
there only where two would otherwise be called alike.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from analysis.specs import METHODS, CalibrationParams, DiscountParams, PruneSpec, QuantizationParams, told_apart
from analysis.specs.what_is_read import only_read, readers

_SYMBOLS = ("sink_std", "sink_alpha", "discount_strength")  # their labels begin with the letter of the formula
_NO_DIFFERENCE = ("out", "overwrite", "byte_budget", "streaming")  # where and in how much memory


def run_name(parameters: Mapping[str, Any]) -> str:
    """The name of a pruning by its parameters, as `PruneSpec.model_dump(mode="json")` gives them.

    What they lack is taken as the default. Of a method that this version does not know: its own name and sparsity.
    """
    method = METHODS.get(str(parameters.get("method", PruneSpec.model_fields["method"].default)))
    rows = () if method is None else readers({**parameters, "method": method.name})
    quantized = quantization_title(parameters)
    first = str(parameters.get("method")) if method is None else method.title.partition(" (")[0].replace(",", "")
    if method is not None and not method.removes and quantized:
        first, quantized = quantized, ""
    parts = [first]
    if any(row.discounted for row in rows):
        discount = DiscountParams().model_dump() | _inner(parameters, "discount")
        parts += [f"{_symbol(name)}{_short(discount[name])}" for name in _SYMBOLS]
    if any(row.calibrated for row in rows):
        parts.append(f"seed {_inner(parameters, 'calibration').get('seed', CalibrationParams().seed)}")
    if method is not None and not method.removes:
        return " ".join(parts)
    sparsity = parameters.get("sparsity", PruneSpec.model_fields["sparsity"].default)
    share = f"{100 * sparsity:g} %" if isinstance(sparsity, int | float) else str(sparsity)
    chosen = {name: parameters.get(name, PruneSpec.model_fields[name].default) for name in ("pattern", "allocation")}
    unusual = [str(value) for name, value in chosen.items() if value != PruneSpec.model_fields[name].default]
    return " · ".join([" ".join(parts), share, *unusual, *([quantized] if quantized else [])])


def quantization_title(parameters: Mapping[str, Any]) -> str:
    """Return the quantization of a pruning in a few words, as `4-bit GPTQ g64`; '' where nothing was quantized."""
    try:
        return QuantizationParams.model_validate(_inner(parameters, "quantization")).title
    except ValidationError:  # of a later version
        return "quantized"


def run_names(parameters: Sequence[Mapping[str, Any]], ids: Sequence[str]) -> list[str]:
    """A name of its own for each pruning: `run_name`, and what tells it from others that it would share it with.

    ids: tell apart what has the same parameters; their first four characters are shown.
    """
    names = [run_name(settings) for settings in parameters]
    compared = [
        {key: value for key, value in only_read(settings).items() if key not in _NO_DIFFERENCE}
        for settings in parameters
    ]
    details = told_apart(names, compared, PruneSpec)
    names = [
        f"{name} · {detail.replace(',', '')}" if detail else name for name, detail in zip(names, details, strict=True)
    ]
    return [
        f"{name} · {run_id[:4]}" if names.count(name) > 1 else name for name, run_id in zip(names, ids, strict=True)
    ]


def _inner(parameters: Mapping[str, Any], name: str) -> dict[str, Any]:
    nested = parameters.get(name)
    return dict(nested) if isinstance(nested, Mapping) else {}


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _symbol(name: str) -> str:
    return (DiscountParams.model_fields[name].title or name).partition(" (")[0]
