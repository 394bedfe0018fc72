"""Plots and tables of a sweep for the page, the command line and Python: the plane of quality against cost, and
accuracies along the axes. Imports no torch.

Accuracies are means and ranges over calibration seeds. The planes of a sweep fit one small file.
`python -m training.frontier` writes the one that ships, of the bundled diffusion model.
"""

import gzip
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ValidationError

from analysis.errors import UserError
from analysis.evaluation.conditions import HELD_AGAINST
from analysis.evaluation.frontier import (
    ACCURACY,
    CACHE,
    COSTS,
    QUALITIES,
    Cost,
    Placed,
    Quality,
    controlled,
    on_frontier,
    plane_row,
)
from analysis.evaluation.sweep_scores import Comparison, Setting
from analysis.evaluation.sweep_tables import comparison_row
from analysis.figures.export import Exhibit
from analysis.figures.frontier import Points, Saving, frontier
from analysis.figures.interval_layout import IntervalRow
from analysis.figures.intervals import difference_row
from analysis.figures.style import colors_by_method
from analysis.figures.sweep import Curve
from analysis.findings import finding_of
from analysis.specs import METHODS, EvictionPoint, detail, part_alone, step_range, titles_apart
from analysis.specs.sweep import called
from analysis.words import percent

EXAMPLE = Path(__file__).parents[1] / "bundled" / "frontier.json.gz"
MOST_BYTES = 4 * 2**20  # of the text

_METHODS = {row.title: name for name, row in METHODS.items()}
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
    """Show a quality against a cost; None without points. timed: what milliseconds were measured on."""
    if not points:
        return None
    pairs = controlled(compared, points)
    dense, known = points[0].setting.dense.value, [one.cost / one.share for one in points if one.share]
    full = (float(np.mean(known)), dense) if known else None
    places = np.array([(one.cost, one.quality.value) for one in points] + ([full] if full else []))
    best = on_frontier(*places.T)
    rows = [plane_row(point, pairs, bool(on), quality) for point, on in zip(points, best, strict=False)]
    return shown_plane(rows, full, finding_of("gain at the same cost", pairs, cost, quality), cost, timed, quality)


def shown_plane(
    rows: Sequence[Mapping[str, Any]],
    full: tuple[float, float] | None,
    said: str,
    cost: Cost,
    timed: str,
    quality: Quality,
) -> Exhibit:
    """Show a plane from its rows, as `plane_row` makes them, cheapest first. full: cost and quality of the dense model.
    said: its finding.
    """
    table = pd.DataFrame(list(rows))
    by_name = table.set_index("setting")
    controls = set(table["control"].dropna())
    savings = []
    for series, own in table[~table["setting"].isin(controls)].groupby("series", sort=False):
        against = by_name.reindex(own["control"])
        held = _points(against, quality) if own["control"].notna().any() else None
        controls_of = [str(name) for name in against["series"].dropna().unique()]
        methods = (_method(str(series)), _method(controls_of[0]) if controls_of else "")
        savings.append(Saving(str(series), _points(own.set_index("setting"), quality), held, *methods))
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
        "as the best of several estimates, they look better than they are. Bars: 95 % intervals. Settings of equal "
        "cost are drawn side by side.",
        frontier(savings, full, cost.title, quality.axis, quality.percent, "control", steps, "dense"),
        table,
        formula=METHOD,
        finding=said,
        name=f"{named}-{cost.name.replace(' ', '-')}",
    )


def _method(series: str) -> str:
    """Return the name of the method of a line; '' of a quantizer or a policy."""
    return _METHODS.get(series.partition(" · ")[0], "")


def _with(table: pd.DataFrame, full: tuple[float, float], quality: Quality) -> tuple[np.ndarray, np.ndarray]:
    """Return costs and qualities, higher being better, of the settings and, last, of the dense model."""
    cost, value = table["cost"].to_numpy(float), table[quality.name].to_numpy(float)
    return np.append(cost, full[0]), quality.sign * np.append(value, full[1])


def _points(rows: pd.DataFrame, quality: Quality) -> Points:
    """Return rows by setting as points; NaN if there is none."""
    cost, value, low, high = (rows[name].to_numpy(float) for name in ("cost", quality.name, "low", "high"))
    return Points(cost, value, low, high, [name if isinstance(name, str) else "" for name in rows.index])


# --- files ------------------------------------------------------------------------------------------------------


class WrittenPlane(BaseModel, frozen=True):
    """A plane. cost, quality: names of their rows. full: cost and quality of the dense model. rows: of `plane_row`.
    timed: what milliseconds were measured on. said: its finding.
    """

    cost: str
    quality: str
    full: tuple[float, float] | None
    rows: tuple[dict[str, Any], ...]
    timed: str = ""
    said: str = ""

    def shown(self) -> Exhibit:
        """Show it."""
        return shown_plane(self.rows, self.full, self.said, COSTS[self.cost], self.timed, QUALITIES[self.quality])


class ShippedFrontier(BaseModel, frozen=True):
    """Planes of a finished sweep. command: reproduces it. verdicts: its findings. environment: versions, hardware."""

    command: str
    planes: tuple[WrittenPlane, ...]
    verdicts: tuple[str, ...]
    environment: Any = None


def written_plane(
    shown: Exhibit, full: tuple[float, float] | None, cost: str, quality: str, timed: str
) -> WrittenPlane:
    """Return a plane as it is written, without what is not a number in its rows."""
    table = shown.table.astype(object).where(shown.table.notna(), None)
    rows = tuple({str(name): value for name, value in row.items()} for row in table.to_dict("records"))
    return WrittenPlane(cost=cost, quality=quality, full=full, rows=rows, timed=timed, said=shown.finding)


def write_planes(found: ShippedFrontier, path: Path) -> None:
    """Write the file; the same planes give the same bytes."""
    path.write_bytes(gzip.compress(found.model_dump_json().encode(), mtime=0))


def read_planes(path: Path) -> ShippedFrontier:
    """Read a file. Raises UserError for one that holds no planes which this version can draw."""
    try:
        with gzip.open(path) as file:
            text = file.read(MOST_BYTES + 1)
        found = ShippedFrontier.model_validate_json(text)
        if len(text) > MOST_BYTES or any(one.cost not in COSTS or one.quality not in QUALITIES for one in found.planes):
            raise ValueError("unknown")
        return found
    except (OSError, EOFError, ValueError, ValidationError) as error:
        raise UserError(
            f"'{path.name}' holds no frontier that this version can read. Run `python -m training.frontier` again."
        ) from error


@dataclass(frozen=True)
class Grid:
    """Accuracies of two axes, (rows, columns) as shares; NaN if there is none."""

    values: np.ndarray
    rows: list[str]
    columns: list[str]


def by_sparsity(settings: Sequence[Setting]) -> list[Curve]:
    """Return a curve for each method and each value of the other axes; evictions have no sparsity."""
    groups: dict[tuple[str, str], dict[float, np.ndarray]] = defaultdict(dict)
    for setting in settings:
        if isinstance(setting.pruning, EvictionPoint):
            continue
        groups[setting.label, setting.pruning.method][setting.pruning.sparsity] = setting.by_seed
    return [_along(*named, [([x], values) for x, values in group.items()]) for named, group in groups.items()]


def by_task(settings: Sequence[Setting]) -> Grid:
    """Return the dense model and every setting by task. settings: at least one, all of one model."""
    first = settings[0]
    tasks = list(first.tasks)
    dense = [float(first.tasks[task][1].mean()) for task in tasks]
    values = np.array([dense, *([setting.of_task(task) for task in tasks] for setting in settings)])
    return Grid(values, ["dense", *(setting.label for setting in settings)], [first.titles[task] for task in tasks])


def step_ranges(settings: Sequence[Setting]) -> list[str]:
    """Return the ranges of noise steps swept for methods that weigh steps."""
    return list(dict.fromkeys(step_range(setting.pruning) for setting in weighing_steps(settings)))


def weighing_steps(settings: Sequence[Setting]) -> list[Setting]:
    """Return the settings whose method weighs noise steps."""
    return [setting for setting in settings if any(row.weighs_steps for row in setting.pruning.readers)]


def by_steps(settings: Sequence[Setting], method: str) -> Grid:
    """Return a method's accuracies by range of noise steps and sparsity, the mean over seeds and, if several,
    discounts.
    """
    weighing = weighing_steps(settings)
    sparsities = sorted({setting.pruning.sparsity for setting in weighing})
    ranges = step_ranges(settings)
    cells: dict[tuple[str, float], list[float]] = defaultdict(list)
    for setting in weighing:
        if setting.pruning.method == method:
            cells[step_range(setting.pruning), setting.pruning.sparsity].append(setting.accuracy)
    values = np.array([[np.mean(cells.get((steps, x), [np.nan])) for x in sparsities] for steps in ranges])
    return Grid(values, ranges, [percent(sparsity, 0) for sparsity in sparsities])


def _along(name: str, method: str, dots: Sequence[tuple[Sequence[float], Sequence[float] | np.ndarray]]) -> Curve:
    """Return a curve through dots, in order of x. dots: where the seeds of each lie, and their accuracies."""
    dots = sorted(dots, key=lambda dot: float(np.mean(dot[0])))
    return Curve(
        name,
        np.array([np.mean(x) for x, _ in dots]),
        np.array([np.mean(accuracies) for _, accuracies in dots]),
        np.array([np.min(accuracies) for _, accuracies in dots]),
        np.array([np.max(accuracies) for _, accuracies in dots]),
        np.array([len(accuracies) for _, accuracies in dots]),
        method,
    )


def pair_name(comparison: Comparison) -> str:
    """Return the name of a comparison: its method, what it is held against and as what, and what is not the default."""
    part = part_alone(comparison.setting.pruning)
    titles = list(titles_apart(comparison.setting.pruning, comparison.other.pruning))
    if part:
        titles[0] = called(comparison.setting.pruning.method, part)
    more = detail(comparison.setting.pruning).replace(f"{part} alone", "").strip()
    known = HELD_AGAINST[comparison.relation]
    named = titles[1] if known in titles[1] else f"{titles[1]} ({known})"
    return f"{titles[0]} − {named}{f' · {more}' if more else ''}"


def difference_rows(compared: Sequence[Comparison]) -> list[IntervalRow]:
    """Return the differences of a sweep in points by sparsity, those of one pair of methods in one colour; none of
    evictions."""
    compared = [one for one in compared if not isinstance(one.setting.pruning, EvictionPoint)]
    methods = {pair_name(one): one.setting.pruning.method for one in compared}
    colors = dict(zip(methods, colors_by_method(list(methods.values())), strict=True))
    return [
        difference_row(
            f"{percent(one.setting.pruning.sparsity)} sparsity",
            one.difference,
            group=pair_name(one),
            color=colors[pair_name(one)],
            filled=one.shown,
            hover=(pair_name(one), _judged(comparison_row(one))),
        )
        for one in sorted(compared, key=lambda one: one.setting.pruning.sparsity)
    ]


def _judged(row: Mapping[str, Any]) -> str:
    return f"{row['verdict']}, {row['seeds']} seeds, {row['clusters']} clusters"
