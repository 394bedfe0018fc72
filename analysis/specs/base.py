"""What every spec is made of: strict models whose fields know how to be drawn."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cache.sizes import parse_size

LLADA_SOURCE = "LLaDA, arXiv 2502.09992"
DREAM_SOURCE = "Dream 7B, arXiv 2508.15487"
SINK_AWARE_SOURCE = "Sink-Aware Pruning, arXiv 2602.17664"


class Spec(BaseModel):
    """Immutable, and strict about names: an unknown field is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _sizes_take_units(cls, given: Any) -> Any:
        sizes = [name for name in cls.model_fields if isinstance(given, dict) and isinstance(given.get(name), str)]
        for name in filter(lambda name: in_bytes(cls, name), sizes):
            try:
                given = {**given, name: parse_size(given[name])}
            except ValueError as error:
                title = cls.model_fields[name].title
                raise ValueError(f"{title}: '{given[name]}' is no size. Expected one such as 2GB or 512MiB.") from error
        return given


def in_bytes(spec: type[BaseModel], name: str) -> bool:
    """Whether a field of a spec is a size, which can be given as text with a unit."""
    return (spec.model_fields[name].json_schema_extra or {}).get("unit") == "bytes"


def parameter(
    default: Any,
    label: str,
    help: str,
    *,
    unit: str = "",
    source: str = "",
    step: float | None = None,
    empty: str = "",
    **bounds: Any,
) -> Any:
    """A field that knows how to be drawn: `label` and `help` for people, the rest for widgets.

    empty: what no value means, shown in the empty widget.
    """
    extra = {"unit": unit, "source": source, "step": step, "empty": empty}
    return Field(default, title=label, description=help, json_schema_extra=extra, **bounds)
