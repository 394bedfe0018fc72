"""Results of a sweep so far: differences with both sources of noise, accuracies along its axes, and its points."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine.sweeps import Point, point_row
from analysis.evaluation import sweep_scores
from analysis.evaluation.frontier import (
    ACCURACY,
    COSTS,
    DIVERGENCE,
    QUALITIES,
    TIMES,
    Cost,
    Placed,
    placed,
    settings_of,
)
from analysis.evaluation.published_results import chance_of, published, published_pairs, remarks
from analysis.evaluation.sweep_scores import Comparison, Setting
from analysis.exhibits import sweeps
from analysis.exhibits.sweeps import plane
from analysis.figures import sweep as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.specs import METHODS, EvaluateSpec, EvictionPoint, PruneSpec, setting_name
from analysis.specs.commands import evaluate_command
from analysis.words import percent
from pages.parts.charts import chart, kept, table
from pages.parts.controls import keyed_columns, pick, segments
from pages.parts.plain import plain
from pages.parts.sweep.differences import (
    THEORETICAL,
    differences_in_numbers,
    draw_accuracies,
    draw_answer,
    shares_of,
    telling,
)

_OPENED = "sweep_opened"
_grid_map, _accuracy = kept(figures.grid_map), kept(figures.accuracy)


def sweep_results(
    points: Sequence[Point],
    scores: Sequence[sweep_scores.PointScores],
    place: DeltaGenerator | None = None,
    offer: Callable[[Sequence[Comparison]], None] = lambda compared: None,
    beside: DeltaGenerator | None = None,
) -> Callable[[], None]:
    """Draw what is known of the answer with its figure. Return what draws all else. place: of the answer, if that is to
    stand above all else. offer: draws what can be done about the answer. beside: the row of the buttons.
    """
    prunings = [point.pruning for point in points]
    evaluations = tuple(point.evaluated.id for point in points if point.evaluated is not None)
    key = (*evaluations, str(len(scores)), *(pruning.model_dump_json() for pruning in prunings))
    settings, compared = _computed(key, prunings, scores)
    if not settings:
        st.markdown("##### No model is scored yet.")
        return lambda: None
    models = sweep_scores.by_model(settings)
    chosen = segments("Model", models, "sweep_model", format_func=plain)
    of_model = models[chosen]
    of_chosen = [point for point in points if point.pruning.model.source == chosen]
    held = [comparison for comparison in compared if comparison.setting.pruning.model.source == chosen]
    on_plane = any(
        setting.pruning.quantization.active or isinstance(setting.pruning, EvictionPoint) for setting in of_model
    )

    def planes() -> None:
        _plane(of_chosen, of_model, compared, lambda: _diverging(key, prunings, scores))

    draw_answer(
        held,
        of_model,
        st.container(key="sweep_so_far") if place is None else place,
        offer,
        planes if on_plane else None,  # sparsity alone is no axis of theirs
        beside,
    )
    views: dict[str, Callable[[], None]] = {
        "Every method": lambda: draw_accuracies(of_model),
        **({} if on_plane else {_PLANE: planes}),
        "Differences": lambda: differences_in_numbers(held, of_model),
        _TASKS: lambda: _task_map(of_model),
        **({_STEPS: lambda: _step_map(of_model)} if len(sweeps.step_ranges(of_model)) > 1 else {}),
        _PUBLISHED: _published,
        "Points": lambda: _points([point_row(point) for point in points]),
    }
    return lambda: _more(views)


_PLANE, _TASKS, _STEPS, _PUBLISHED = "Size and time", "Tasks", "Noise steps", "Published results"
_VIEW = "sweep_view"
_CONTROLS = {
    **{"sweep_quality": _PLANE, "sweep_size": _PLANE, "sweep_sparsity": _TASKS, "sweep_step_method": _STEPS},
    "sweep_published_table": _PUBLISHED,
}
"""Views by the controls that put their state in the address."""


def _more(views: Mapping[str, Callable[[], None]]) -> None:
    """Draw what else a sweep shows in a fold, one view at a time; open where the address asks for one."""
    asked = next((view for key, view in _CONTROLS.items() if key in st.query_params and view in views), "")
    linked = bool(asked) or _VIEW in st.query_params
    place = st.expander("More about this sweep", key="fold_sweep_more_views", expanded=linked, on_change="rerun")
    if not place.open:
        return
    with place:
        views[segments("View", views, _VIEW, default=asked or None, format_func=plain, label_visibility="collapsed")]()


@st.cache_resource(max_entries=32, show_spinner=False)
def _computed(
    key: tuple[str, ...], _asked: Sequence[PruneSpec], _scores: Sequence[sweep_scores.PointScores]
) -> tuple[list[Setting], list[Comparison]]:
    """Return settings and comparisons, cached. key: what they come from."""
    settings = sweep_scores.settings(_scores, _asked)
    return settings, sweep_scores.comparisons(settings)


@st.cache_resource(max_entries=32, show_spinner=False)
def _diverging(
    key: tuple[str, ...], _asked: Sequence[PruneSpec], _scores: Sequence[sweep_scores.PointScores]
) -> tuple[list[Setting], list[Comparison]]:
    """Return the same of the answers' distance from the dense model's."""
    settings = settings_of(_scores, _asked, QUALITIES[DIVERGENCE])
    return settings, sweep_scores.comparisons(settings)


def _plane(
    points: Sequence[Point],
    settings: Sequence[Setting],
    compared: Sequence[Comparison],
    diverging: Callable[[], tuple[list[Setting], list[Comparison]]],
) -> None:
    """Draw a quality against a compressed model's size or time, each sink-aware setting joined to its control.
    diverging: settings and comparisons with the divergence in place of the accuracy.
    """
    rows = [point_row(point) for point in points]
    known = [name for name in COSTS if any(row[name] is not None for row in rows)]
    if not known:
        return
    columns = keyed_columns([2, 3], "sweep_plane_axes")
    name = segments(
        "Quality",
        QUALITIES,
        "sweep_quality",
        columns[0],
        default=ACCURACY,
        help=plain(" ".join(f"{name}: {row.help}" for name, row in QUALITIES.items())),
    )
    axis = segments(
        "Against",
        known,
        "sweep_size",
        columns[1],
        format_func=lambda name: plain(COSTS[name].title),
        help="Times of a forward are there where the sweep measured them.",
    )
    if name != ACCURACY:
        moved, compared = diverging()
        settings = [one for one in moved if one.pruning.model == settings[0].pruning.model]
    cost = COSTS[axis]
    on_plane = placed(settings, [point.pruning for point in points], rows, cost)
    timed = next((row["timed"] for row in rows if row["timed"]), "") if axis == TIMES else ""
    shown = plane(on_plane, compared, cost, timed, QUALITIES[name])
    if shown is None:
        st.caption("No point has both: only tasks with choices have a divergence.")
        return
    chart(
        replace(shown, finding=shown.finding or (_smallest(on_plane, cost) if name == ACCURACY else "")),
        "sweep_plane",
        "Click a dot for its run and its command.",
        lambda point: st.session_state.update({_OPENED: point.customdata[-1]}),
    )
    opened = st.session_state.get(_OPENED)
    for point in [point for point in points if setting_name(point.pruning) == opened][:1]:
        _opened(point)


def _smallest(on_plane: Sequence[Placed], cost: Cost) -> str:
    """Name the cheapest setting whose seeds are all above chance."""
    return finding_of(
        "smallest above chance",
        [one.series for one in on_plane],
        [np.array([one.cost]) for one in on_plane],
        [np.array([one.setting.by_seed.min()]) for one in on_plane],
        [np.array([one.setting.by_seed.max()]) for one in on_plane],
        on_plane[0].setting.chance,
        cost.title,
    )


def _opened(point: Point) -> None:
    """Draw the link to a point's run, and the command that reproduces it."""
    st.markdown(f"**{plain(setting_name(point.pruning))}**, seed {point.pruning.calibration.seed:d}")
    if point.pruned is not None:
        st.page_link(
            "pages/runs.py", label="Open its run", icon=":material/table_view:", query_params={"run": point.pruned.id}
        )
        command = point.pruned.summary.get("report", {}).get("command")
        if command:
            st.code(command, language="bash", wrap_lines=True)
    elif point.evaluated is not None:
        st.page_link(
            "pages/runs.py",
            label="Open its evaluation",
            icon=":material/monitoring:",
            query_params={"evaluation": point.evaluated.id},
        )
        st.code(evaluate_command(point.evaluated.parameters(EvaluateSpec)), language="bash", wrap_lines=True)


def _task_map(settings: Sequence[Setting]) -> None:
    settings = [setting for setting in settings if not isinstance(setting.pruning, EvictionPoint)]
    sparsities = sorted({setting.pruning.sparsity for setting in settings})
    if not settings:
        return
    names = [f"{percent(sparsity, 0)}" for sparsity in sparsities]
    chosen = segments("Sparsity", names, "sweep_sparsity", default=names[-1])
    rows = [setting for setting in settings if percent(setting.pruning.sparsity, 0) == chosen]
    grid = sweeps.by_task(rows)
    chart(
        Exhibit(
            f"Tasks by method at {chosen}",
            "Accuracy in percent, the mean over calibration seeds; colours run from 0 to 100 %.",
            _grid_map(grid.values, grid.rows, grid.columns, "", "", True),
            pd.DataFrame(grid.values, columns=grid.columns).assign(method=grid.rows),
            formula="Right answers of the items that all models have answered.",
        ),
        "sweep_task_map",
    )


def _step_map(settings: Sequence[Setting]) -> None:
    weighing = sweeps.weighing_steps(settings)
    methods = dict.fromkeys(setting.pruning.method for setting in weighing)
    chosen = segments("Method", methods, "sweep_step_method", format_func=lambda name: METHODS[name].title)
    grid = sweeps.by_steps(settings, chosen)
    chart(
        Exhibit(
            f"Noise steps that count, by sparsity: {METHODS[chosen].title}",
            "Accuracy in percent, the mean over calibration seeds and, where there are several, over discounts.",
            _grid_map(grid.values, grid.rows, grid.columns, "sparsity", "noise steps"),
            pd.DataFrame(grid.values, columns=grid.columns).assign(steps=grid.rows),
            formula="Right answers, the mean over tasks.",
            finding=finding_of(
                "grid beyond seeds", grid.values, grid.rows, grid.columns, _largest_floor(weighing, chosen)
            ),
        ),
        "sweep_step_map",
    )


def _largest_floor(settings: Sequence[Setting], method: str) -> float | None:
    """Return the largest difference of two calibration seeds of a setting of this method; None if all have one seed."""
    floors = [sweep_scores.floor(setting) for setting in settings if setting.pruning.method == method]
    return max((floor.largest for floor in floors if floor is not None), default=None)


def _published() -> None:
    """Draw published tables, apart from one's own."""
    rows = published()
    sources = list(dict.fromkeys(row.source for row in rows))
    titles = {f"{row.model} · {row.pattern} · {row.task}": (row.model, row.pattern, row.task) for row in rows}
    chosen = pick("Table", titles, "sweep_published_table")
    of_title = [row for row in rows if (row.model, row.pattern, row.task) == titles[chosen]]
    curves = []
    for method in dict.fromkeys(row.method for row in of_title if row.sparsity):
        of_method = sorted((row for row in of_title if row.method == method), key=lambda row: row.sparsity)
        values = np.array([row.accuracy for row in of_method])
        x = np.array([row.sparsity for row in of_method])
        name = METHODS[method].title if method in METHODS else method
        curves.append(figures.Curve(name, x, values, values, values, np.ones(len(x)), method, reference=True))
    dense = next((row.accuracy for row in of_title if not row.sparsity), None)
    told = published_pairs(of_title)
    cited = "; ".join(source for source in sources if any(row.source == source for row in of_title))
    chart(
        Exhibit(
            f"Published by others: {chosen}",
            " ".join(
                [
                    f"Not measured here, and not on the model, items or text of this sweep. Source: {cited}.",
                    *remarks(of_title),
                ]
            ),
            _accuracy(curves, "sparsity", dense, chance_of(titles[chosen][2])),
            pd.DataFrame([vars(row) for row in of_title]),
            formula="As the source gives it; where it has a standard error, that is in the table.",
            finding=finding_of("published differences", told.names, told.sparsities, told.differences, told.errors),
        ),
        "sweep_published_chart",
    )


def _points(rows: Sequence[dict]) -> None:
    frame = pd.DataFrame(rows).dropna(axis=1, how="all")
    frame["method"] = frame["method"].map(lambda name: METHODS[name].title if name in METHODS else name)
    frame = frame.rename(columns={name: f"{name} (theoretical)" for name in THEORETICAL})
    table(
        "Points",
        "Every point of the sweep: state, accuracy, size and time.",
        frame,
        "sweep_points",
        "In the file accuracies and sparsities are shares. Theoretical: by arithmetic from shapes, bits and masks. "
        "Seconds are of this machine while it did whatever else it did.",
        shares=shares_of(frame),
        column_order=telling(frame),
    )
