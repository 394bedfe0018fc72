"""The masks of two pruned models: where they differ, beside chance, and what happens to the sinks."""

import pandas as pd
import streamlit as st

from analysis.engine.runs import Run
from analysis.figures import masks as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.pruned import compare
from analysis.pruned.compare import MEASURES, Comparison
from analysis.words import percent
from pages.parts.charts import card, chart, export_button
from pages.parts.controls import segments
from pages.parts.keyed import keyed_columns
from pages.parts.masks.choice import compared_if_alike, how_to_prune, two_runs, two_seeds
from pages.parts.masks.heads import heads_view
from pages.parts.masks.kept_sinks import attention_to_sinks
from pages.parts.masks.projections import projections_view
from pages.parts.masks.pruned_models import Pruned, known_pruned
from pages.parts.masks.several import several_runs
from pages.parts.masks.shown_measures import OURS, choose_measure, formula, grid_exhibit, table_of
from pages.parts.plain import plain
from pages.parts.side import plots_and_controls


def experts_view(comparison: Comparison, floor: Comparison | None) -> None:
    """Draw a measure by layer and expert."""
    parts = comparison.expert_parts()
    left, right = keyed_columns(2, "mask_experts")
    with left:
        measure = choose_measure()
    with right:
        part = st.selectbox("Projection of an expert", list(parts), key="mask_expert_part", bind="query-params")
    counts, beside = parts[part], None if floor is None else floor.expert_parts()[part]
    bare = [str(layer) for layer, weights in enumerate(counts[..., 0].sum(axis=1)) if not weights]
    if bare:
        st.caption(f"Layers without experts: {', '.join(bare)}.")
    chart(grid_exhibit(measure, counts, beside, "expert", part), "mask_experts")


VIEWS = ("Heads", "Projections", "Depth", "Attention to sinks", "Several runs")
EXPERTS = "Experts"  # of a mixture alone


def masks_of(chosen: list[Run]) -> None:
    """Draw the masks of two runs. chosen: ticked runs, of which the first two are compared at first."""
    known = known_pruned()
    pair = two_runs(known, [run.id for run in chosen if run.has_masks])
    if pair is None:
        how_to_prune(known)
        return
    _page(*pair, known, [run.id for run in chosen if run.has_masks])


def _page(first: Pruned, second: Pruned, known: dict[str, Run], ticked: list[str]) -> None:
    comparison = compared_if_alike(first, second)
    if comparison is None:
        return
    plots, side = plots_and_controls()
    with side:
        floor = two_seeds(first, second, known)
    with plots:
        _in_a_sentence(comparison, floor)
        view = _view(first, second, known, comparison, floor, ticked)
        _numbers(comparison, floor)
    settings = {pruned.label: {"pruned": pruned.run.title, **pruned.run.settings} for pruned in (first, second)}
    export_button(
        f"SinkScope: masks, {view.lower()}",
        {"first": first.label, "second": second.label, **settings},
        f"{first.label} {second.label}",
    )


def _in_a_sentence(comparison: Comparison, floor: Comparison | None) -> None:
    """Say how far the two masks differ, against two calibration seeds or chance."""
    total, measure = comparison.total(), next(iter(MEASURES.values()))
    seeds = None if floor is None else float(measure.compute(floor.total()))
    value, chance = float(measure.compute(total)), float(measure.independent(total))
    said = finding_of("whole against seeds", measure.title, value, seeds, chance, "all projections")
    if said:
        st.markdown(f"##### {plain(said)}")


def _view(
    first: Pruned,
    second: Pruned,
    known: dict[str, Run],
    comparison: Comparison,
    floor: Comparison | None,
    ticked: list[str],
) -> str:
    """Draw the chosen view and return its name."""
    views = (VIEWS[0], EXPERTS, *VIEWS[1:]) if comparison.experts else VIEWS
    view = segments("Masks by", views, "masks_view")
    if view == "Heads":
        heads_view(first, comparison, floor)
    elif view == EXPERTS:
        experts_view(comparison, floor)
    elif view == "Projections":
        projections_view(first, second, comparison, floor)
    elif view == "Depth":
        _depth(comparison, floor)
    elif view == "Attention to sinks":
        attention_to_sinks(first, second)
    else:
        several_runs(first, second, known, ticked)
    return view


def _numbers(comparison: Comparison, floor: Comparison | None) -> None:
    total = comparison.total()
    p, q = compare.sparsities(total)
    for column, measure in zip(st.columns(len(MEASURES) + 1), [*MEASURES.values(), None], strict=True):
        if measure is None:
            weights = f"Of {int(total[0]):,} weights in all projections."
            card(column, "Sparsity, first and second", f"{percent(p, 1)} · {percent(q, 1)}", note=weights)
            continue
        chance = f"The whole model. Independent masks: {percent(measure.independent(total), 1)}"
        seeds = "not measured" if floor is None else f"{percent(measure.compute(floor.total()), 2)}"
        card(
            column,
            measure.title,
            f"{percent(measure.compute(total), 2)}",
            note=f"{chance} · two calibration seeds: {seeds}",
            help=OURS,
        )


def _depth(comparison: Comparison, floor: Comparison | None) -> None:
    left, right = keyed_columns([3, 2], "mask_depth", vertical_alignment="bottom")
    with left:
        measure = choose_measure()
    with right:
        log = st.toggle("Log axis", value=True, key="mask_log", bind="query-params")
    parts = comparison.depth()
    beside = {} if floor is None else floor.depth()
    floors = {f"two calibration seeds, {compare.ALL}": measure.compute(beside[compare.ALL])} if beside else {}
    floors["independent masks"] = measure.independent(parts[compare.ALL])
    tables = [table_of(counts, beside.get(name), "layer").assign(projections=name) for name, counts in parts.items()]
    lines = {name: measure.compute(counts) for name, counts in parts.items()}
    chart(
        Exhibit(
            f"{measure.title} over depth",
            f"{measure.sentence}, layer by layer (our measure). Dashed: what chance alone shows.",
            figures.over_depth(lines, floors, measure.title.lower(), log),
            pd.concat(tables),
            formula=formula(measure),
            finding=finding_of(
                "depth", lines[compare.ALL], measure.compute(beside[compare.ALL]) if compare.ALL in beside else None
            ),
        ),
        "mask_depth",
    )
    if log and any((values == 0).any() for values in lines.values()):
        st.caption("Layers in which nothing differs are not on a log axis. The table has them.")
