"""How sinks move over the denoising steps, beside other recordings, random weights and forward-noised text."""

import numpy as np
import pandas as pd
import streamlit as st

from analysis.engine import JobRecord
from analysis.figures import dynamics as figures
from analysis.metrics import CURVES, lifetimes, position_variance
from analysis.sinks import KINDS, attention_share, count_by_kind, gaussian_reference
from analysis.specs import SinkParams
from analysis.trajectory import Trajectory
from pages.parts import comparisons, measures
from pages.parts.charts import chart, export_button, start_exhibits
from pages.parts.frame import run
from pages.parts.measures import Scope
from pages.parts.recordings import among, definition_formula, opened, recording_to_look_at, sink_controls
from pages.parts.session import finished_recordings, plain, recording_title

VIEWS = ("Over the steps", "Stable or moving", "Positions", "Noised against real")
SPLITS: dict[str, bool | None] = {"all tokens": None, "[MASK] only": True, "without [MASK]": False}


def main() -> None:
    """Draws the page."""
    st.title("Dynamics")
    start_exhibits()
    looked_at = recording_to_look_at()
    if looked_at is None:
        return
    record, trajectory = looked_at
    params = sink_controls()
    view = st.segmented_control(
        "View", VIEWS, default=VIEWS[0], required=True, key="dynamics_view", bind="query-params"
    )
    body = {
        VIEWS[0]: _over_steps,
        VIEWS[1]: _stable_or_moving,
        VIEWS[2]: _positions,
        VIEWS[3]: _noised_against_real,
    }[view]
    body(record, trajectory, params)
    export_button(
        f"SinkScope: {view}",
        {
            "recording": recording_title(record),
            "sinks": params.model_dump(),
            "model": trajectory.info.model.model_dump(),
        },
    )


# --- over the steps ---------------------------------------------------------------------------------------------


def _over_steps(record: JobRecord, trajectory: Trajectory, params: SinkParams) -> None:
    left, middle, right = st.columns([2, 2, 3], vertical_alignment="bottom")
    with left:
        scope = _scope(trajectory)
    with middle:
        split = _split()
    with right:
        others = _others(record)
    reference = st.toggle(
        "Random-weight reference", key="random_reference", bind="query-params",
        help="The same inputs through the same shape of model with random weights: what untrained attention shows.",
    )  # fmt: skip
    groups = _groups([record, *others], params, scope, SPLITS[split])
    if reference:
        problem = comparisons.why_no_model(trajectory, record.spec["model"]["source"])
        drawn = None if problem else comparisons.random_reference(record, trajectory)
        if problem:
            st.info(problem)
        if drawn is not None:
            groups["random weights"] = [(*drawn, SPLITS[split])]
    several = len({one[0].steps for members in groups.values() for one in members}) > 1
    columns = st.columns(2, gap="large")
    for index, (name, metric) in enumerate(CURVES.items()):
        if SPLITS[split] is not None and not metric.by_kind:
            continue
        series = [_series(label, members, name, params, scope, several) for label, members in groups.items()]
        if name == "count" and params.definition == "std" and SPLITS[split] is None:
            mass = measures.mean_mass(trajectory, record.key or "", scope)
            expected = np.asarray(gaussian_reference(np.isfinite(mass).sum(axis=1), params.k), np.float32)[None]
            series.append(figures.Series("Gaussian reference", _axis(expected.shape[1], several), expected, True))
        with columns[index % 2]:
            chart(
                metric.title,
                metric.sentence,
                f"$${metric.formula}$$\n\n{definition_formula(params)}",
                figures.curves(
                    series, "share of the steps" if several else "denoising step", metric.axis, percent=metric.percent
                ),
                f"curve_{name}",
                _curve_table(series),
            )
    if SPLITS[split] is None:
        _kinds(record, trajectory, params)


def _scope(trajectory: Trajectory) -> Scope:
    options: list[str] = ["whole model"]
    options += [f"layer {layer}" for layer in range(trajectory.layers)]
    chosen = st.selectbox(
        "Judge sinks on", options, key="scope", bind="query-params", help="Whose attention is added up."
    )
    if chosen == options[0]:
        return measures.WHOLE
    layer = options.index(chosen) - 1
    heads = ["all heads", *(f"head {head}" for head in range(trajectory.heads))]
    head = st.selectbox("Head", heads, key="scope_head", bind="query-params", label_visibility="collapsed")
    return layer, None if head == heads[0] else heads.index(head) - 1


def _split() -> str:
    return st.selectbox(
        "Count sinks on", list(SPLITS), key="split", bind="query-params",
        help="Sinks on [MASK] tokens move simply because masks get filled, so look at them apart.",
    )  # fmt: skip


def _others(record: JobRecord) -> list[JobRecord]:
    records = {other.id: other for other in finished_recordings() if other.id != record.id}
    if "compare_choice" not in st.session_state:
        asked = st.query_params.get("compare", "").split(",")
        st.session_state["compare_choice"] = [job for job in asked if job in records]
    among("compare_choice", records)
    chosen = st.multiselect(
        "Compare with", list(records), key="compare_choice", persist_state="session", max_selections=8,
        format_func=lambda job: recording_title(records[job]) if job in records else job,
        placeholder="other recordings",
        help="Recordings of one model become one line with a band; another model gets a line of its own.",
    )  # fmt: skip
    if chosen:
        st.query_params["compare"] = ",".join(chosen)
    elif "compare" in st.query_params:
        del st.query_params["compare"]
    return [records[job] for job in chosen]


Member = tuple[Trajectory, str, bool | None]


def _groups(records: list[JobRecord], params: SinkParams, scope: Scope, masked: bool | None) -> dict[str, list[Member]]:
    """Recordings by model. A layer or head that another model lacks leaves that model out."""
    groups: dict[str, list[Member]] = {}
    for record in records:
        trajectory = opened(record)
        if trajectory is None:
            continue
        layer, head = scope
        if (layer or 0) >= trajectory.layers or (head or 0) >= trajectory.heads:
            st.caption(f"{plain(recording_title(record))} has no such layer or head and is left out.")
            continue
        groups.setdefault(record.spec["model"]["source"], []).append((trajectory, record.key or "", masked))
    return groups


def _axis(steps: int, relative: bool) -> np.ndarray:
    return np.linspace(0, 1, steps) if relative else np.arange(steps)


def _series(
    label: str, members: list[Member], name: str, params: SinkParams, scope: Scope, relative: bool
) -> figures.Series:
    """One group's curves on a common grid; where lengths differ, steps are put on a scale from 0 to 1."""
    rows = [
        measures.curve(trajectory, key, name, params.model_dump_json(), scope, masked)
        for trajectory, key, masked in members
    ]
    x = _axis(max(len(row) for row in rows), relative)
    values = np.stack([row if len(row) == len(x) else np.interp(x, _axis(len(row), True), row) for row in rows])
    return figures.Series(label, x, values, reference=label == "random weights")


def _curve_table(series: list[figures.Series]) -> pd.DataFrame:
    return pd.concat(
        [
            pd.DataFrame({"series": one.name, "recording": index, "x": one.x, "value": row})
            for one in series
            for index, row in enumerate(one.values)
        ]
    )


def _kinds(record: JobRecord, trajectory: Trajectory, params: SinkParams) -> None:
    flags = measures.sinks(trajectory, record.key or "", params.model_dump_json())
    counts = count_by_kind(flags, measures.kinds(trajectory, record.key or ""))
    table = pd.DataFrame(counts, columns=list(KINDS))
    table.insert(0, "step", np.arange(len(counts)))
    chart(
        "Which tokens are sinks",
        "The sinks of every step by kind. Sinks on [MASK] move because masks get filled.",
        "A masked token is [MASK] wherever it stands; then its position decides (first, last), then its text.\n\n"
        + definition_formula(params),
        figures.kinds_over_steps(counts, KINDS),
        "kinds_over_steps",
        table,
    )


# --- stable or moving -------------------------------------------------------------------------------------------


def _stable_or_moving(record: JobRecord, trajectory: Trajectory, params: SinkParams) -> None:
    left, kind, middle, right = st.columns([2, 2, 2, 5], vertical_alignment="bottom")
    with kind:
        split = _split()
    with left:
        by_head = st.segmented_control(
            "One point a", ["layer", "head"], default="layer", required=True, key="point", bind="query-params"
        ) == "head"  # fmt: skip
    with middle:
        log = st.toggle("Log axes", value=True, key="log_axes", bind="query-params")
    with right:
        others = _others(record)
    clouds, tables = [], []
    for one in [record, *others]:
        shown = opened(one)
        if shown is None:
            continue
        spatial, temporal, names = measures.variances(
            shown, one.key or "", params.model_dump_json(), by_head, SPLITS[split]
        )
        clouds.append(figures.Cloud(recording_title(one), spatial, temporal, names))
        tables.append(
            pd.DataFrame({"recording": recording_title(one), "what": names, "spatial": spatial, "temporal": temporal})
        )
    chart(
        "Spatial against temporal variance",
        "Right: attention is concentrated on few positions. Up: its sinks move over the steps, so they are unstable.",
        "Spatial: $\\operatorname{Var}_i(\\operatorname{mean}_t r_{t,i})$. Temporal: $\\operatorname{Var}_t(c_t/S)$. "
        "Both on the corrected share $r$, the share divided by what uniform attention gives under the model's mask; "
        "sinks are the positions with $r$ above mean + k·std. So causal and bidirectional models can be compared.",
        figures.variances(clouds, log),
        "variances",
        pd.concat(tables),
    )
    missing = sum(int(np.isnan(cloud.temporal).sum()) for cloud in clouds)
    if missing:
        st.caption(f"{missing} points have sinks in fewer than two steps, so no temporal variance, and are not drawn.")
    st.caption("For an autoregressive model beside it: load `bundled-ar`, record a prompt, choose it at Compare with.")


# --- positions --------------------------------------------------------------------------------------------------


def _positions(record: JobRecord, trajectory: Trajectory, params: SinkParams) -> None:
    scope = _scope(trajectory)
    key, rule = record.key or "", params.model_dump_json()
    flags = measures.sinks(trajectory, key, rule, scope)
    labels = trajectory.labels()
    step, position = np.nonzero(flags)
    kinds = measures.kinds(trajectory, key)
    chart(
        "Where the sinks are",
        "Each row is a step, each mark a sink, coloured by what the token was in that step.",
        definition_formula(params),
        figures.raster(flags, kinds, KINDS, labels, None),
        "raster",
        pd.DataFrame(
            {
                "step": step,
                "position": position,
                "token": [trajectory.info.tokens[token] for token in trajectory.tokens[step, position].tolist()],
                "kind": [KINDS[kind] for kind in kinds[step, position]],
            }
        ),
    )
    left, right = st.columns(2, gap="large")
    positions = np.arange(trajectory.positions)
    with left:
        alive = lifetimes(flags)
        chart(
            "Lifetime of each sink",
            "In how many steps each position is a sink.",
            definition_formula(params),
            figures.position_bars(alive, labels, "steps as a sink", sinks=True),
            "lifetime",
            pd.DataFrame({"position": positions, "token": labels, "steps as a sink": alive}),
        )
    with right:
        spread = position_variance(attention_share(measures.mean_mass(trajectory, key, scope)))
        chart(
            "How much each position's share varies",
            "The variance over the steps of the share of attention each position gets.",
            "$\\operatorname{Var}_t(a_{t,s})$ with the share $a = m/S$.",
            figures.position_bars(spread, labels, "variance of the share"),
            "position_variance",
            pd.DataFrame({"position": positions, "token": labels, "variance of the share": spread}),
        )


# --- noised against real ----------------------------------------------------------------------------------------


def _noised_against_real(record: JobRecord, trajectory: Trajectory, params: SinkParams) -> None:
    st.caption(
        "Calibration for pruning sees finished text with random tokens masked; the model lives on its own half-written "
        "text. Both are here, at the same share of masked tokens."
    )
    if trajectory.info.model.mask_token is None:
        st.info("This recording is of an autoregressive model, which has no forward noise.")
        return
    problem = comparisons.why_no_model(trajectory, record.spec["model"]["source"])
    if problem:
        st.info(problem)
        return
    noised = comparisons.noised(record, trajectory)
    if noised is None:
        return
    columns = st.columns(2, gap="large")
    pair = {"real trajectory": (trajectory, record.key or ""), "noised text": noised}
    for index, (name, metric) in enumerate(CURVES.items()):
        if name == "turnover":  # noised steps are drawn independently: they have no step before
            continue
        series = [
            figures.Series(
                label,
                one.masked.mean(axis=1),
                measures.curve(one, key, name, params.model_dump_json())[None],
            )
            for label, (one, key) in pair.items()
        ]
        with columns[index % 2]:
            chart(
                metric.title,
                metric.sentence,
                f"$${metric.formula}$$\n\n{definition_formula(params)}",
                figures.curves(series, "share of tokens masked", metric.axis, percent=metric.percent),
                f"noised_{name}",
                _curve_table(series),
            )


if __name__ == "__main__":
    run(main)
