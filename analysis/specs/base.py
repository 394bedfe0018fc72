"""What every spec is made of: strict models whose fields know how to be drawn."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

LLADA_SOURCE = "LLaDA, arXiv 2502.09992"
DREAM_SOURCE = "Dream 7B, arXiv 2508.15487"
SINK_AWARE_SOURCE = "Sink-Aware Pruning, arXiv 2602.17664"


class Spec(BaseModel):
    """Immutable, and strict about names: an unknown field is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
