"""The plane of quality against cost as it is drawn by the page, the command line and Python. Imports no torch."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.evaluation.frontier import CACHE, Cost, Placed, controlled, finding, on_frontier, plane_row
from analysis.evaluation.qualities import ACCURACY, QUALITIES, Quality, shown_interval
from analysis.evaluation.sweep_scores import Comparison
from analysis.figures.frontier import Points, Saving, frontier
from analysis.recording.set_exhibits import Formulas, Shown

METHOD = Formulas(
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
) -> Shown | None:
    """A quality against a cost; None without points. timed: what milliseconds were measured on."""
    if not points:
        return None
    pairs = controlled(compared, points)
    control_of = {id(point): control for _, point, control in pairs}
    controls = {id(control) for control in control_of.values()}
    series: dict[str, list[Placed]] = {}
    for point in points:
        if id(point) not in controls:
            series.setdefault(point.series, []).append(point)
    savings = [
        Saving(
            name,
            _points(of_series, quality),
            _points([control_of.get(id(point)) for point in of_series], quality)
            if any(id(point) in control_of for point in of_series)
            else None,
        )
        for name, of_series in series.items()
    ]
    dense, known = points[0].setting.dense.value, [one.cost / one.share for one in points if one.share]
    full = (float(np.mean(known)), dense) if known else None
    places = np.array([(one.cost, one.quality.value) for one in points] + ([full] if full else []))
    best = on_frontier(*places.T)
    cost_of, value_of = places[best][np.argsort(places[best][:, 0])].T
    steps = Points(cost_of, quality.sign * value_of, quality.sign * value_of, quality.sign * value_of)
    said = [quality.help] if quality.name != ACCURACY else []
    said += [cost.help, *([f"Forwards of {timed}."] if timed else [])]
    differs = "the positions kept" if cost.name == CACHE else "the discount"
    title = quality.name[0].upper() + quality.name[1:]
    named = "frontier" if quality.name == ACCURACY else f"frontier-{quality.name}"
    return Shown(
        f"{named}-{cost.name.replace(' ', '-')}",
        f"{title} against {cost.title}",
        f"{' '.join(said)} Hollow: the control, which differs in {differs} alone. Steps: settings that no other beats; "
        "as the best of several estimates, they look better than they are.",
        METHOD,
        frontier(savings, full, cost.title, quality.axis, quality.percent, "control", steps, "dense"),
        pd.DataFrame([plane_row(point, pairs, bool(on), quality) for point, on in zip(points, best, strict=False)]),
        finding=finding(pairs, cost, quality),
    )


def _points(points: Sequence[Placed | None], quality: Quality) -> Points:
    rows = [(np.nan,) * 4 if one is None else (one.cost, *shown_interval(one.quality, quality)) for one in points]
    cost, value, low, high = np.array(rows).T
    return Points(cost, value, low, high, [one.setting.name if one is not None else "" for one in points])
