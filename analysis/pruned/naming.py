"""Name of a pruned model: its method with what was chosen for it, the same wherever it is named.

`Sink-Wanda k2 α5 λ1 seed 0 · 50 %`: the method, its discount, the calibration seed where it reads text, the sparsity,
pattern and allocation where they are not the usual ones, and the bits where weights are quantized. What is finer stands
there only where two would otherwise be called alike.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from analysis.specs import METHODS, CalibrationParams, DiscountParams, PruneSpec, QuantizationParams, told_apart
from analysis.specs.pruning_choices import Method, Reader
from analysis.specs.what_is_read import only_read, readers

_SYMBOLS = ("sink_std", "sink_alpha", "discount_strength")  # their labels begin with the letter of the formula
_NO_DIFFERENCE = ("out", "overwrite", "byte_budget", "streaming")  # where and in how much memory


def run_name(parameters: Mapping[str, Any]) -> str:
    """The name of a pruning by its parameters, as `PruneSpec.model_dump(mode="json")` gives them.

    What they lack is taken as the default. Of a method that this version does not know: its own name and sparsity.
    """
    method, rows = _method_and_rows(parameters)
    quantized = quantization_title(parameters)
    first = str(parameters.get("method")) if method is None else method.title.partition(" (")[0].replace(",", "")
    if method is not None and not method.removes and quantized:
        first, quantized = quantized, ""
    parts = [first, *_discount(parameters, rows)]
    seed = seed_of(parameters)
    if seed is not None:
        parts.append(f"seed {seed}")
    if method is not None and not method.removes:
        return " ".join(parts)
    sparsity = _given(parameters, "sparsity")
    share = f"{100 * sparsity:g} %" if _is_number(sparsity) else str(sparsity)
    return " · ".join([" ".join(parts), share, *_unusual(parameters), *([quantized] if quantized else [])])


def plain_title(method: str) -> str:
    """Return what a method is to its readers: with the discount, without it, or as it was published; of another than
    the preset with its own title.
    """
    row, preset = METHODS.get(method), METHODS[_default("method")]
    if row is None:
        return method
    if any(other.published == method for other in METHODS.values()):
        return f"{row.title} as published"
    if method == preset.control:
        return "Without discount (control)"
    if row.discounted and row.tokens == "sinks":
        return "With discount" if row is preset else f"With discount ({row.title})"
    return row.title


def both_titles(method: str) -> str:
    """Return what a method is to its readers and its own title, as `With discount · Sink-Wanda`."""
    title = METHODS[method].title.removesuffix(" (control)")
    return plain_title(method) if title in plain_title(method) else f"{plain_title(method)} · {title}"


def plain_name(parameters: Mapping[str, Any]) -> str:
    """Return what a pruned model is to its readers, as `With discount, 50 % removed, seed 0`."""
    method, seed = str(_given(parameters, "method")), seed_of(parameters)
    row, quantized = METHODS.get(method), quantization_title(parameters)
    sparsity = _given(parameters, "sparsity")
    removed = f"{100 * sparsity:g} % removed" if (row is None or row.removes) and _is_number(sparsity) else ""
    parts = [plain_title(method), removed, *_unusual(parameters), quantized, "" if seed is None else f"seed {seed}"]
    return ", ".join(filter(None, parts))


def is_control(method: str) -> bool:
    """Return whether another method is compared with this one to tell what its discount does."""
    return any(row.control == method for row in METHODS.values())


def seed_of(parameters: Mapping[str, Any]) -> int | None:
    """Return the calibration seed of a pruning; None where it reads no text."""
    _, rows = _method_and_rows(parameters)
    if not any(row.calibrated for row in rows):
        return None
    return int(inner(parameters, "calibration").get("seed", CalibrationParams().seed))


def settings_title(parameters: Mapping[str, Any]) -> str:
    """Return what a name holds beside method, seed, sparsity and bits: the discount, and what is not as usual."""
    method, rows = _method_and_rows(parameters)
    unusual = _unusual(parameters) if method is None or method.removes else []
    return " · ".join(filter(None, [" ".join(_discount(parameters, rows)), *unusual]))


def _method_and_rows(parameters: Mapping[str, Any]) -> tuple[Method | None, tuple[Reader, ...]]:
    method = METHODS.get(str(_given(parameters, "method")))
    return method, () if method is None else readers({**parameters, "method": method.name})


def _discount(parameters: Mapping[str, Any], rows: Sequence[Reader]) -> list[str]:
    if not any(row.discounted for row in rows):
        return []
    discount = DiscountParams().model_dump() | inner(parameters, "discount")
    return [f"{_symbol(name)}{_short(discount[name])}" for name in _SYMBOLS]


def _unusual(parameters: Mapping[str, Any]) -> list[str]:
    chosen = {name: _given(parameters, name) for name in ("pattern", "allocation")}
    return [str(value) for name, value in chosen.items() if value != _default(name)]


def _given(parameters: Mapping[str, Any], name: str) -> Any:
    """A parameter's value, its default where it is not named."""
    return parameters.get(name, _default(name))


def _default(name: str) -> Any:
    return PruneSpec.model_fields[name].default


def quantization_title(parameters: Mapping[str, Any]) -> str:
    """Return the quantization of a pruning in a few words, as `4-bit GPTQ g64`; '' where nothing was quantized."""
    try:
        return QuantizationParams.model_validate(inner(parameters, "quantization")).title
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


def inner(values: Any, name: str) -> dict[str, Any]:
    """Return the mapping that stands in another under a name; an empty one where there is none."""
    nested = values.get(name) if isinstance(values, Mapping) else None
    return dict(nested) if isinstance(nested, Mapping) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _short(value: Any) -> str:
    return f"{value:g}" if _is_number(value) else str(value)


def _symbol(name: str) -> str:
    return (DiscountParams.model_fields[name].title or name).partition(" (")[0]
