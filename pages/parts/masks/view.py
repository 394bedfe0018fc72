"""The masks of two pruned models: where they differ, by head and in depth, beside chance; and those of several."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from analysis.engine.runs import Run
from analysis.figures import masks as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.pruned import compare, masks_file
from analysis.pruned.compare import MEASURES, Comparison
from analysis.specs import PATTERNS
from analysis.words import percent
from pages.parts.address import meant
from pages.parts.charts import card, chart, export_button
from pages.parts.controls import keyed_columns, pick, plots_and_controls, segments
from pages.parts.masks.choice import ALIKE, compared_if_alike, how_to_prune, two_runs, two_seeds
from pages.parts.masks.kept_sinks import attention_to_sinks
from pages.parts.masks.pruned_models import (
    OURS,
    Pruned,
    choose_measure,
    formula,
    grid_exhibit,
    known_pruned,
    open_pruned,
    overlap,
    projections_view,
    read_address,
    run_of,
    short_labels,
    table_of,
    titled,
)
from pages.parts.plain import plain


def experts_view(comparison: Comparison, floor: Comparison | None) -> None:
    """Draw a measure by layer and expert."""
    parts = comparison.expert_parts()
    left, right = keyed_columns(2, "mask_experts")
    with left:
        measure = choose_measure()
    with right:
        part = pick("Projection of an expert", parts, "mask_expert_part")
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
    total, measure = comparison.total(), MEASURES["disagreement"]
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
        seeds = "" if floor is None else f" · two calibration seeds: {percent(measure.compute(floor.total()), 2)}"
        card(column, measure.title, f"{percent(measure.compute(total), 2)}", note=f"{chance}{seeds}", help=OURS)


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


def heads_view(first: Pruned, comparison: Comparison, floor: Comparison | None) -> None:
    """Draw a measure by layer and head, and how much sparser each head gets."""
    parts = comparison.head_parts()
    if not parts:
        st.info("This architecture's attention projections are not laid out by head. See Projections instead.")
        return
    left, right = keyed_columns(2, "mask_heads")
    with left:
        measure = choose_measure()
    with right:
        part = pick(
            "Slice of a head",
            parts,
            "mask_part",
            help="Rows of the query, key and value projections, columns of the output projection (o_proj). A "
            "key/value head that several query heads share counts for each of them.",
        )
    counts, beside = parts[part], None if floor is None else floor.head_parts()[part]
    geometry = first.masks.geometry
    shared = {geometry.heads // first.masks.kv_heads(layer) for layer in range(geometry.layers)}
    if max(shared) > 1 and part in compare.SHARED:
        several = " or ".join(map(str, sorted(shared)))
        st.caption(f"{plain(several)} query heads share one key/value head, so neighbouring cells are the same.")
    chart(grid_exhibit(measure, counts, beside, "head", part), "mask_heads")
    st.divider()
    _head_sparsity(comparison, floor, part)


def _head_sparsity(comparison: Comparison, floor: Comparison | None, part: str) -> None:
    title = f"Sparsity of each head, second minus first, {part}"
    stuck, free = comparison.fixed_parts(part)
    note = " ".join(f"{', '.join(names)}: {_why_fixed(why)}." for why, names in stuck.items())
    if not free:
        st.markdown(f"**{plain(title)}**")
        st.info(plain(f"A head's sparsity cannot differ here, so there is nothing to draw. {note}"))
        return
    counts = comparison.head_parts()[part]
    values, spread = compare.sparsity_difference(counts), compare.independent_spread(counts)
    table = table_of(counts, None, "layer", "head").assign(
        **{"second − first": values.ravel(), "spread of independent masks": spread.ravel()}
    )
    beside = None if floor is None else floor.head_parts()[part]
    seeds = None if beside is None else compare.sparsity_difference(beside)
    top = float(np.nanmax(np.abs(values if seeds is None else np.stack([values, seeds]))))
    axis = "sparsity, second − first"
    # One plot each, stacked on narrow screens, so that their numbers stay legible.
    places = st.columns(1 if seeds is None else 2, gap="medium", vertical_alignment="bottom")
    moves = f" It can move only in {', '.join(free)}. {note}" if stuck else ""
    with places[0]:
        chart(
            Exhibit(
                title,
                f"Blue: the second run keeps more of this head; red: it prunes more (our measure).{moves}",
                figures.grids(
                    [figures.Grid("", values, figures.spread_lines(spread))], axis, "head", signed=True, top=top
                ),
                table,
                formula="$$\\frac{|B| - |A|}{n}$$\n\nof the slice's weights. Independent masks of these sparsities "
                f"spread by $\\sqrt{{(p(1-p) + q(1-q))/n}}$ around 0, a little less where every row loses equally "
                f"many. {OURS}",
                finding=finding_of("head sparsity", values, spread, seeds),
            ),
            "head_sparsity",
        )
    if beside is None or seeds is None:
        return
    with places[1]:
        chart(
            Exhibit(
                f"Two calibration seeds, second minus first, {part}",
                "What another draw of the calibration text does to the sparsity of heads, on the same colours.",
                figures.grids([figures.Grid("", seeds)], axis, "head", signed=True, top=top),
                table_of(beside, None, "layer", "head").assign(**{"second − first": seeds.ravel()}),
                formula=f"$$\\frac{{|B| - |A|}}{{n}}$$\n\nof the slice's weights, $A$ and $B$ pruned with two seeds. "
                f"{OURS}",
            ),
            "head_sparsity_seeds",
        )


_WHY_FIXED = {
    "dense": "neither run prunes it",
    "rows": "every row loses the same number of weights in both runs, as per-row pruning does",
}


def _why_fixed(reason: str) -> str:
    """Return why both masks prune a head alike, for one of `Comparison.fixed`."""
    if reason in PATTERNS:
        pattern = PATTERNS[reason]
        return (
            f"the {pattern.title} pattern keeps {pattern.kept} of every {pattern.group} neighbours, whatever is chosen"
        )
    return _WHY_FIXED[reason]


_RUNS = "runs"


def several_runs(first: Pruned, second: Pruned, known: dict[str, Run], ticked: Sequence[str] = ()) -> None:
    """Draw the overlap of every pair of runs. known: the runs of the store, by id. ticked: those to start with."""
    options = list(dict.fromkeys([first.id, second.id, *known]))
    called, read = titled(known), read_address(known)
    if _RUNS in st.session_state:
        chosen = st.session_state[_RUNS]
    else:
        reports = {run_id: run_of(run.folder) for run_id, run in known.items() if run.folder is not None}
        alike = [run_id for run_id, report in reports.items() if report.budget() == first.run.budget()]
        likely = list(ticked) if len(ticked) > 2 else list(dict.fromkeys([first.id, second.id, *alike]))[:8]
        chosen = st.query_params.get_all(_RUNS) or likely
    st.session_state[_RUNS] = list(dict.fromkeys(meant(each, options, called, read) for each in chosen))
    chosen = st.multiselect(
        "Runs",
        options,
        key=_RUNS,
        format_func=called,
        accept_new_options=True,
        persist_state="session",
        max_selections=12,
        placeholder="choose runs, or type the paths of folders",
    )
    st.query_params[_RUNS] = chosen
    runs = []
    for run_id in chosen:
        pruned = first if run_id == first.id else second if run_id == second.id else open_pruned(run_id, known)
        problem = masks_file.why_not_comparable(first.masks, pruned.masks) if pruned is not None else ""
        if problem:
            st.caption(f"Left out: {plain(called(run_id))}. {plain(problem)}")
        elif pruned is not None:
            runs.append(pruned)
    if len(runs) < 2:
        st.info("Choose at least two runs of one architecture.")
        return
    counts = overlap(runs)
    similarity, chance = compare.jaccard(counts), compare.independent_jaccard(counts)
    labels = short_labels(runs)
    titles = [pruned.label for pruned in runs]
    table = table_of(counts, None, "first", "second").assign(jaccard=similarity.ravel(), chance=chance.ravel())
    table = table[table["first"] < table["second"]].rename(columns={"chance": "jaccard, independent masks"})
    for side in ("first", "second"):
        table[side] = [titles[index] for index in table[side]]
    p, _ = compare.sparsities(counts)
    spread = float(np.ptp(np.diag(p)))
    if spread > ALIKE:
        st.warning(
            f"These runs' sparsities lie up to {100 * spread:.1f} points apart. Masks of different sparsity overlap "
            "less for that reason alone; compare each cell with the independent masks of its own sparsities."
        )
    low, high = (f"{end:.2f}" for end in (np.nanmin(chance), np.nanmax(chance)))
    reach = low if low == high else f"{low} to {high}"
    chart(
        Exhibit(
            "Overlap of the pruned weights",
            "The Jaccard index of every two runs: 1 where they prune the same weights (our measure). "
            f"Independent masks of their sparsities: {reach}.",
            figures.overlap_matrix(similarity, labels, figures.overlap_lines(similarity, chance, titles)),
            table,
            formula="$$J = \\frac{|A \\cap B|}{|A \\cup B|}, \\quad \\text{independent masks: } "
            f"\\frac{{pq}}{{p + q - pq}}$$\n\nover all projections. {OURS}",
            finding=finding_of("overlap", similarity, chance, labels),
        ),
        "overlap",
    )
