"""The plane of quality against cost as it is drawn by the page, the command line and Python. Imports no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.evaluation.frontier import CACHE, Cost, Placed, controlled, finding, on_frontier, plane_row
from analysis.evaluation.qualities import ACCURACY, QUALITIES, Quality
from analysis.evaluation.sweep_scores import Comparison
from analysis.figures.export import Exhibit
from analysis.figures.frontier import Points, Saving, frontier

METHOD = (
    "A dot is a setting: the quality of its seeds, the mean over tasks, with a 95 % interval over clusters of items "
    "and seeds, crossed. Hollow, joined by a dotted line: the control. Of a pruning it differs in the discount of "
    "sinks alone; of an eviction it keeps as many random positions of the same state, drawn by the seed. The step line "
    "joins the settings that no other beats; the best of several estimates looks better than it is, so it is not a "
    "test. Tests are those of the differences, Holm-corrected over the sweep."
)


def plane(
    points: Sequence[Placed],
    compared: Sequence[Comparison],
    cost: Cost,
    timed: str = "",
    quality: Quality = QUALITIES[ACCURACY],
) -> Exhibit | None:
    """A quality against a cost; None without points. timed: what milliseconds were measured on."""
    if not points:
        return None
    pairs = controlled(compared, points)
    dense, known = points[0].setting.dense.value, [one.cost / one.share for one in points if one.share]
    full = (float(np.mean(known)), dense) if known else None
    places = np.array([(one.cost, one.quality.value) for one in points] + ([full] if full else []))
    best = on_frontier(*places.T)
    rows = [plane_row(point, pairs, bool(on), quality) for point, on in zip(points, best, strict=False)]
    return shown_plane(rows, full, finding(pairs, cost, quality), cost, timed, quality)


def shown_plane(
    rows: Sequence[Mapping[str, Any]],
    full: tuple[float, float] | None,
    said: str,
    cost: Cost,
    timed: str,
    quality: Quality,
) -> Exhibit:
    """A plane from its rows, as `plane_row` makes them, cheapest first. full: cost and quality of the dense model.
    said: its finding.
    """
    table = pd.DataFrame(list(rows))
    by_name = table.set_index("setting")
    controls = set(table["control"].dropna())
    savings = []
    for series, own in table[~table["setting"].isin(controls)].groupby("series", sort=False):
        against = by_name.reindex(own["control"])
        held = _points(against, quality) if own["control"].notna().any() else None
        savings.append(Saving(str(series), _points(own.set_index("setting"), quality), held))
    best = table.loc[table["on the frontier"], ["cost", quality.name]].to_numpy(float)
    if full and on_frontier(*_with(table, full, quality))[-1]:
        best = np.append(best, [full], axis=0)
    best = best[np.argsort(best[:, 0], kind="stable")]
    steps = Points(best[:, 0], *(best[:, 1],) * 3)
    told = [quality.help] if quality.name != ACCURACY else []
    told += [cost.help, *([f"Forwards of {timed}."] if timed else [])]
    differs = "the positions kept" if cost.name == CACHE else "the discount"
    title = quality.name[0].upper() + quality.name[1:]
    named = "frontier" if quality.name == ACCURACY else f"frontier-{quality.name}"
    return Exhibit(
        f"{title} against {cost.title}",
        f"{' '.join(told)} Hollow: the control, which differs in {differs} alone. Steps: settings that no other beats; "
        "as the best of several estimates, they look better than they are.",
        frontier(savings, full, cost.title, quality.axis, quality.percent, "control", steps, "dense"),
        table,
        formula=METHOD,
        finding=said,
        name=f"{named}-{cost.name.replace(' ', '-')}",
    )


def _with(table: pd.DataFrame, full: tuple[float, float], quality: Quality) -> tuple[np.ndarray, np.ndarray]:
    """Costs and qualities, more being better, of the settings and at last of the dense model."""
    cost, value = table["cost"].to_numpy(float), table[quality.name].to_numpy(float)
    return np.append(cost, full[0]), quality.sign * np.append(value, full[1])


def _points(rows: pd.DataFrame, quality: Quality) -> Points:
    """Rows by setting as points; NaN where there is none."""
    cost, value, low, high = (rows[name].to_numpy(float) for name in ("cost", quality.name, "low", "high"))
    return Points(cost, value, low, high, [name if isinstance(name, str) else "" for name in rows.index])
