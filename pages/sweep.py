"""Prune with every combination of methods, sparsities, seeds and more, score each, and see what holds."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine import JobRecord
from analysis.engine.cost_estimate import CostEstimate, lines
from analysis.engine.sweeps import scored, seconds_taken
from analysis.evaluation.frontier import ACCURACY
from analysis.evaluation.sweep_scores import Comparison
from analysis.exhibits.discount_levels import levels_of_study
from analysis.exhibits.sweeps import EXAMPLE, ShippedFrontier, read_planes
from analysis.pruned.report_file import plain_title
from analysis.specs import AS_STORED, ModelSpec, SweepSpec, grid
from analysis.specs.commands import sweep_command
from analysis.words import DISCOUNT_TOLD, MODEL_TITLES, counted, model_title, percent
from pages.parts import address
from pages.parts.address import shown_box
from pages.parts.asking import allow, cut_short, duration, may_act, starting_button
from pages.parts.charts import chart, download, export_button, reproduce, start_exhibits
from pages.parts.controls import PHONE, order_on_a_phone, title_row
from pages.parts.frame import run
from pages.parts.lazy_section import lazy_section
from pages.parts.plain import code, plain
from pages.parts.pruning.runs import ADDRESS, follow, launch, offer_more_seeds
from pages.parts.session import EXPECTED, LOOK, REDRAW, engine, model_in_use, model_name, not_in_address, submit, tell
from pages.parts.study.choice import can_tell, example, read_point
from pages.parts.sweep.differences import draw_levels, say_cost
from pages.parts.sweep.results import sweep_results
from pages.parts.sweep.settings import asked_by_address, sweep_settings

_NAMED = 2  # methods that a title names
_REST = "sweep_rest"  # beneath the figures of the answer
_NEW = "sweep_new_opened"  # whether the settings of a new sweep are drawn


# More seeds have a row of their own; on a phone the box of sweeps, too.
_STYLE = f"""<style>[data-testid='stLayoutWrapper']:has(>.st-key-sweep_more_seeds){{flex-basis:100%}}
@media (max-width:{PHONE}px){{
.st-key-sweep_actions>[data-testid='stElementContainer']:has([data-testid='stSelectbox']){{flex-basis:100%}}}}</style>"""


def main() -> None:
    """Draw the page."""
    st.html(_STYLE)
    order_on_a_phone({}, {"sweep_actions": 1, "new_sweep": 2}, _REST)  # beneath the figures, which stay in view
    title_row("Sweep").caption(f"Many settings in one batch. {DISCOUNT_TOLD}", width="stretch")
    start_exhibits()
    model = model_in_use()
    records = engine().jobs("sweep")
    answer = st.container(key="sweep_answer", gap="small")
    actions = st.container(key="sweep_actions", horizontal=True, vertical_alignment="center")
    if engine().authorizer.may("run"):
        _new_sweep(model, actions)
    else:
        may_act()
    record = _shown(records, actions)
    if record is None:
        _example(answer, actions)
    else:
        if record.state != "done":
            _state(record, alone=len(records) == 1)
        _results(record, answer, actions)


def _example(answer: DeltaGenerator, actions: DeltaGenerator) -> None:
    """Draw what the shipped study says, while there is no sweep; and the planes of the sweep that ships, in a fold.
    answer, actions: as of `_draw`."""
    study = example()
    told = None if study is None else levels_of_study(study)
    if told is not None:
        with answer:
            before, after = "Shipped study of the diffusion model.", "Your sweep will replace it."
            say_cost(told, before=before, after=after, beside=actions)
        draw_levels(told)
    found = _shipped(str(EXAMPLE), EXAMPLE.stat().st_mtime_ns) if EXAMPLE.is_file() else None
    if found is None:
        return
    with (
        st.container(key=_REST),
        st.expander("Accuracy against size: the sweep that comes with SinkScope", key="fold_sweep_example"),
    ):
        for number, written in enumerate(found.planes):
            if written.quality == ACCURACY:
                chart(written.shown(), f"sweep_example_{number}")
        if engine().authorizer.may("run"):
            reproduce(found.command)


@st.cache_resource(max_entries=2, show_spinner=False)
def _shipped(path: str, changed: int) -> ShippedFrontier:
    return read_planes(Path(path))


# --- before it starts -------------------------------------------------------------------------------------------


def _new_sweep(model: ModelSpec, actions: DeltaGenerator) -> None:
    """Draw the button that opens the settings of a new sweep, and the settings where they are open."""
    opened = st.session_state.setdefault(_NEW, asked_by_address())
    actions.button(
        "Close the settings" if opened else "New sweep",
        "sweep_new",
        type="secondary" if opened else "primary",
        icon=":material/close:" if opened else ":material/add:",
        on_click=_open_or_close,
    )
    if not opened:
        return
    with st.container(border=True, key="new_sweep"):
        st.caption(
            f"Prunes {_called(model)} with every combination of axes and scores each pruned model beside the dense "
            "one, on the same items with the same masks."
        )
        _what_to_sweep(model)


def _called(model: ModelSpec) -> str:
    title = MODEL_TITLES.get(model.source, "")
    return f"the {title[0].lower()}{title[1:]}" if title else code(model_name(model.source))


def _open_or_close() -> None:
    st.session_state[_NEW] = not st.session_state[_NEW]


def _start(spec: SweepSpec) -> None:
    """Start a sweep, and make room for it."""
    launch(spec, True)
    st.session_state[_NEW] = False


def _what_to_sweep(model: ModelSpec) -> None:
    """Draw the axes, their cost, and the start button."""
    spec, problem = sweep_settings(model)
    cost_estimate = None
    if spec is None:
        st.error(plain(problem))
    else:
        cost_estimate = _plan(spec)
    buttons = st.container(horizontal=True)
    starting_button(
        "Sweep",
        "sweep_start",
        _start,
        buttons,
        type="primary",
        icon=":material/stacked_line_chart:",
        disabled=spec is None,
        help=plain(problem) or "Runs on all devices. You can cancel it and resume later.",
        args=(spec,),
    )
    if spec is not None and cost_estimate is not None and cost_estimate.estimates:
        _offer_estimates(spec, cost_estimate, buttons)


def _plan(spec: SweepSpec) -> CostEstimate | None:
    """Draw the number of prunings, and the time, memory and disk they are known to take."""
    if not engine().authorizer.may("run"):
        return None
    left_out = [f":material/info: {plain(sentence)}" for sentence in grid(spec).left_out]
    try:
        cost_estimate = engine().foresee(spec)
    except EXPECTED as error:
        tell(error)
        return None
    st.caption("\n\n".join([*left_out, plain(" ".join(lines(cost_estimate)))]))
    return cost_estimate


def _offer_estimates(spec: SweepSpec, cost_estimate: CostEstimate, place: DeltaGenerator) -> None:
    starting_button(
        "Estimate time and memory",
        "sweep_estimate",
        _estimate,
        place,
        icon=":material/timer:",
        args=(spec, cost_estimate),
        help="Runs one step of each phase of every kind of pruning.",
    )
    if any(not job.ended for job in engine().jobs("estimate")):
        st.fragment(_await_estimates, run_every=LOOK)()


def _estimate(spec: SweepSpec, cost_estimate: CostEstimate) -> None:
    allow(*(model.source for model in spec.models))
    for question in cost_estimate.estimates:
        submit("estimate", question)


def _await_estimates() -> None:
    waiting = sum(not job.ended for job in engine().jobs("estimate"))
    if not waiting:
        st.rerun()
    st.caption(f"Measuring {waiting} estimates …")


# --- the sweep shown --------------------------------------------------------------------------------------------


def _shown(sweeps: Sequence[JobRecord], place: DeltaGenerator) -> JobRecord | None:
    """Return the sweep in the address, else the newest; draw the others to choose from. place: of the box."""
    records = {record.id: record for record in sweeps}
    sweep_id = address.named(ADDRESS)
    if sweep_id and sweep_id not in records:
        not_in_address("a sweep that is not in the store." + (" Here is the newest one." if records else ""))
    if not records:
        return None
    shown = sweep_id if sweep_id in records else next(iter(records))
    if len(records) > 1:
        with place:
            shown_box(
                "Sweep",
                "sweep_shown",
                shown,
                records,
                lambda job: _title(records[job]),
                partial(address.write, ADDRESS),
                label_visibility="collapsed",
                width="stretch",
            )
    return records[shown]


def _title(record: JobRecord) -> str:
    """Return a sweep in one line: date, methods and number of points, models."""
    spec = record.parameters(SweepSpec)
    when = datetime.fromtimestamp(record.created).strftime("%d %b %H:%M:%S")
    models = ", ".join(model_title(model_name(model.source)) for model in spec.models)
    several = len(spec.methods) > _NAMED
    methods = f"{len(spec.methods)} methods" if several else ", ".join(map(plain_title, spec.methods))
    sparsities = ", ".join(percent(sparsity, 0) for sparsity in spec.sparsities)
    seeds = f"{len(spec.seeds)} seed{'s' if len(spec.seeds) > 1 else ''}"
    bits = f" · {', '.join(map(str, spec.bits))} bits" if min(spec.bits) < AS_STORED else ""
    budgets = ", ".join(percent(budget, 0) for budget in spec.budgets)
    kept = f" · {', '.join(spec.policies)} at {budgets} of the cache" if spec.policies else ""
    return f"{when} · {methods} · {sparsities}{bits}{kept} · {seeds} · {models}"


def _state(record: JobRecord, alone: bool) -> None:
    """Say how far it is, or how it was cut short. alone: whether there is no box that says which sweep it is."""
    which = plain(_title(record)) if alone else ""
    if which:
        st.caption(which)
    if record.ended:
        cut_short(record, "sweep", "points")
    else:
        follow(record.id)


def _finished(record: JobRecord) -> None:
    """Say which sweep this was, and how long it took."""
    points = engine().sweep_points(record)
    took = f"{counted(len(points), 'model')} took {duration(seconds_taken(points))} in all"
    st.caption(f":material/check_circle: Finished: {took}. {plain(_title(record))}")


def _results(record: JobRecord, answer: DeltaGenerator, actions: DeltaGenerator) -> None:
    if not record.ended:
        st.fragment(_so_far, run_every=REDRAW)(record.id)  # which draws nothing outside of itself
        return
    more = _draw(record.id, answer, actions)

    def rest() -> None:
        if record.state == "done":
            _finished(record)
        more()
        _take_away(record)

    with st.container(key=_REST):
        lazy_section(rest, "sweep_below", 450)


def _so_far(sweep_id: str) -> None:
    _draw(sweep_id)()


def _draw(
    sweep_id: str, answer: DeltaGenerator | None = None, actions: DeltaGenerator | None = None
) -> Callable[[], None]:
    """Draw the answer and its figure, and return what draws the rest of the results. answer, actions: where the answer
    stands, and what can be done about it.
    """
    record = engine().job(sweep_id)
    if record is None:
        return lambda: None
    points = engine().sweep_points(record)
    try:
        scores = scored(points, engine().result_file, read_point)
    except EXPECTED as error:
        tell(error)
        return lambda: None
    return sweep_results(points, scores, answer, lambda compared: _more_seeds(record, compared, actions), actions)


def _more_seeds(record: JobRecord, compared: Sequence[Comparison], place: DeltaGenerator | None) -> None:
    """Offer more calibration seeds where those there are cannot tell."""
    told = {str(at): one.difference for at, one in enumerate(compared)}
    if place is not None and not can_tell(told):
        with place.container(horizontal=True, vertical_alignment="center", key="sweep_more_seeds"):
            offer_more_seeds(record.parameters(SweepSpec), f"sweep_more_seeds_{record.id}")


def _take_away(record: JobRecord) -> None:
    spec = record.parameters(SweepSpec)
    reproduce(sweep_command(spec))
    with st.container(horizontal=True):
        export_button("SinkScope: sweep", record.spec, ", ".join(spec.methods))
        download("Parameters (JSON)", record.spec, "sweep.json", "sweep_json")


if __name__ == "__main__":
    run(main)
