"""A row of the figures of a result, and what the rows share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import plotly.graph_objects as go

from analysis.errors import UserError

Row = TypeVar("Row")


def _always(result: Any) -> bool:
    return True


@dataclass(frozen=True)
class Drawn:
    """A figure of a result. help: what it shows, and its options. draw: (result, **options) -> figure. fits: whether
    there is such a figure of this result.
    """

    help: str
    draw: Callable[..., go.Figure]
    fits: Callable[[Any], bool] = _always


def chosen(rows: Mapping[str, Row], name: str, what: str) -> Row:
    """Return a row by its name. Raises UserError where there is none, with the names that there are."""
    if name not in rows:
        raise UserError(f"There is no {what} '{name}'. There are: {', '.join(rows)}.")
    return rows[name]
