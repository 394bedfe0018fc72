"""A row of the figures of a result, and what the rows share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import plotly.graph_objects as go

from analysis.errors import UserError

Row = TypeVar("Row")


@dataclass(frozen=True)
class Drawn:
    """A figure of a result. help: its contents and options. draw: (result, **options) -> figure. fits: tells whether
    this result has such a figure.
    """

    help: str
    draw: Callable[..., go.Figure]
    fits: Callable[[Any], bool] = lambda result: True


def chosen(rows: Mapping[str, Row], name: str, what: str) -> Row:
    """Return a row by its name. Raises UserError listing the names if there is none."""
    if name not in rows:
        raise UserError(f"There is no {what} '{name}'. There are: {', '.join(rows)}.")
    return rows[name]
