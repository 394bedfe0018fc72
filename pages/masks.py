"""What two pruned models keep and remove: where their masks differ, beside chance, and what happens to the sinks."""

from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from analysis.figures import masks as figures
from analysis.pruned import compare, masks_file
from analysis.pruned.compare import MEASURES, Comparison, Measure
from analysis.specs import PATTERNS
from pages.parts.charts import card, chart, export_button, start_exhibits
from pages.parts.frame import run
from pages.parts.masks import measures as mask_measures
from pages.parts.masks.choice import ALIKE, compared_if_alike, how_to_prune, two_runs, two_seeds
from pages.parts.masks.kept_sinks import attention_to_sinks
from pages.parts.masks.pruned_models import Pruned, open_pruned, run_of
from pages.parts.plain import plain
from pages.parts.recordings.choice import within
from pages.parts.session import engine

VIEWS = ("Heads", "Projections", "Depth", "Attention to sinks", "Several runs")
OURS = "The paper speaks of mask differences without a formula: this measure is ours."
WHOLE_MATRIX = "whole matrix"


def main() -> None:
    """Draws the page."""
    st.title("Masks")
    start_exhibits()
    known = engine().pruned_models()
    pair = two_runs(known)
    if pair is None:
        how_to_prune(known)
        return
    _page(*pair, known)


def _page(first: Pruned, second: Pruned, known: dict[str, Path]) -> None:
    comparison = compared_if_alike(first, second)
    if comparison is None:
        return
    floor = two_seeds(first, second, known)
    _numbers(comparison, floor)
    view = st.segmented_control("View", VIEWS, default=VIEWS[0], required=True, key="masks_view", bind="query-params")
    if view == "Heads":
        _heads(first, comparison, floor)
    elif view == "Projections":
        _projections(first, second, comparison, floor)
    elif view == "Depth":
        _depth(comparison, floor)
    elif view == "Attention to sinks":
        attention_to_sinks(first, second)
    else:
        _several(first, second, known)
    settings = {one.name: {"pruned": one.run.title, **one.run.settings} for one in (first, second)}
    export_button(
        f"SinkScope: masks, {view.lower()}",
        {"first": first.name, "second": second.name, **settings},
        f"{first.label} {second.label}",
    )


# --- numbers and tables -----------------------------------------------------------------------------------------


def _numbers(comparison: Comparison, floor: Comparison | None) -> None:
    total = comparison.total()
    p, q = compare.sparsities(total)
    for column, measure in zip(st.columns(len(MEASURES) + 1), [*MEASURES.values(), None], strict=True):
        if measure is None:
            weights = f"Of {int(total[0]):,} weights in all projections"
            card(column, "Sparsity, first and second", f"{p:.1%} · {q:.1%}", note=weights)
            continue
        chance = f"Independent masks: {measure.independent(total):.1%}"
        seeds = "not measured" if floor is None else f"{measure.compute(floor.total()):.2%}"
        card(
            column,
            f"{measure.title}, whole model",
            f"{measure.compute(total):.2%}",
            note=f"{chance} · two calibration seeds: {seeds}",
            help=OURS,
        )


def _table(counts: np.ndarray, floor: np.ndarray | None, *axes: str) -> pd.DataFrame:
    """Every measure of counts (…, 4) and their floors; axes name the leading axes."""
    flat = counts.reshape(-1, 4)
    columns = dict(zip(axes, (index.ravel() for index in np.indices(counts.shape[:-1])), strict=True))
    p, q = compare.sparsities(flat)
    columns |= {"weights": flat[:, 0], "sparsity, first": p, "sparsity, second": q}
    for measure in MEASURES.values():
        name = measure.title.lower()
        columns |= {name: measure.compute(flat), f"{name}, independent masks": measure.independent(flat)}
        if floor is not None:
            columns[f"{name}, two seeds"] = measure.compute(floor.reshape(-1, 4))
    return pd.DataFrame(columns)


def _measure() -> Measure:
    name = st.selectbox(
        "Measure",
        list(MEASURES),
        key="mask_measure",
        bind="query-params",
        format_func=lambda name: MEASURES[name].title,
    )
    return MEASURES[name]


def _formula(measure: Measure) -> str:
    return (
        f"$${measure.formula}$$\n\n$A$ and $B$ are the pruned weights of the first and the second run, $n$ the weights "
        f"of the slice, $p$ and $q$ the two sparsities in it. {OURS}"
    )


def _beside(
    measure: Measure, counts: np.ndarray, floor: np.ndarray | None, title: str = "first against second"
) -> list[figures.Grid]:
    """The grid of a measure, its floors in the hover, and the grid of two seeds beside it."""
    chance = measure.independent(counts)
    seeds = None if floor is None else measure.compute(floor)
    shown = [figures.Grid(title, measure.compute(counts), figures.floor_lines(chance, seeds))]
    return shown if seeds is None else [*shown, figures.Grid("two calibration seeds", seeds)]


def _beside_chance(measure: Measure, counts: np.ndarray, floor: Comparison | None) -> str:
    chance = measure.independent(counts)
    low, high = (f"{end:.1%}" for end in (np.nanmin(chance), np.nanmax(chance)))
    reach = low if low == high else f"{low} to {high}"
    seeds = "right: two calibration seeds" if floor is not None else "two calibration seeds: none to show"
    return f"Independent masks would show {reach}; {seeds}."


# --- heads ------------------------------------------------------------------------------------------------------


def _heads(first: Pruned, comparison: Comparison, floor: Comparison | None) -> None:
    parts = comparison.head_parts()
    if not parts:
        st.info("This architecture's attention projections are not laid out by head. See Projections instead.")
        return
    left, right = st.columns(2)
    with left:
        measure = _measure()
    with right:
        part = st.selectbox(
            "Slice of a head",
            list(parts),
            key="mask_part",
            bind="query-params",
            help="Rows of the query, key and value projections, columns of the output projection (o_proj). A "
            "key/value head that several query heads share counts for each of them.",
        )
    counts, beside = parts[part], None if floor is None else floor.head_parts()[part]
    geometry = first.masks.geometry
    shared = geometry.heads // geometry.kv_heads
    if shared > 1 and part in compare.SHARED:
        st.caption(f"{shared} query heads share one key/value head, so neighbouring cells are the same.")
    table = _table(counts, beside, "layer", "head")
    chart(
        f"{measure.title} by layer and head, {part}",
        f"{measure.sentence} (our measure). {_beside_chance(measure, counts, floor)}",
        _formula(measure),
        figures.grids(_beside(measure, counts, beside), measure.title.lower(), "head"),
        "mask_heads",
        table,
    )
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
    shown = [figures.Grid("second − first", values, figures.spread_lines(spread))]
    table = _table(counts, None, "layer", "head").assign(
        **{"second − first": values.ravel(), "spread of independent masks": spread.ravel()}
    )
    if floor is not None:
        seeds = compare.sparsity_difference(floor.head_parts()[part])
        shown.append(figures.Grid("two calibration seeds", seeds))
        table["second − first, two seeds"] = seeds.ravel()
    moves = f" It can move only in {', '.join(free)}. {note}" if stuck else ""
    chart(
        title,
        f"Blue: the second run keeps more of this head; red: it prunes more (our measure).{moves}",
        "$$\\frac{|B| - |A|}{n}$$\n\nof the slice's weights. Independent masks of these sparsities spread by "
        f"$\\sqrt{{(p(1-p) + q(1-q))/n}}$ around 0, a little less where every row loses equally many. {OURS}",
        figures.grids(shown, "sparsity, second − first", "head", signed=True),
        "head_sparsity",
        table,
    )


_WHY_FIXED = {
    "dense": "neither run prunes it",
    "rows": "every row loses the same number of weights in both runs, as per-row pruning does",
}


def _why_fixed(reason: str) -> str:
    """Why a head's sparsity is the same in both masks, for one of `Comparison.fixed`."""
    if reason in PATTERNS:
        pattern = PATTERNS[reason]
        return (
            f"the {pattern.title} pattern keeps {pattern.kept} of every {pattern.group} neighbours, whatever is chosen"
        )
    return _WHY_FIXED[reason]


# --- projections ------------------------------------------------------------------------------------------------


def _projections(first: Pruned, second: Pruned, comparison: Comparison, floor: Comparison | None) -> None:
    names = comparison.names
    measure = _measure()
    counts, beside = comparison.projections, None if floor is None else floor.projections
    table = _table(counts, beside, "layer", "projection")
    table["projection"] = [names[index] for index in table["projection"]]
    layers = first.masks.geometry.layers
    within("mask_layer", layers - 1)
    if st.session_state.get("mask_projection") not in (None, *names):
        del st.session_state["mask_projection"]

    def clicked() -> None:
        points = st.session_state["mask_projections"].selection.points
        if points and points[0].get("customdata"):
            layer, index = points[0]["customdata"]
            st.session_state["mask_layer"], st.session_state["mask_projection"] = layer, names[index]

    plot = st.container()  # above the boxes, whose values it outlines
    st.divider()
    left, middle, right = st.columns(3)
    layer = left.selectbox("Layer", range(layers), key="mask_layer", bind="query-params")
    name = middle.selectbox("Projection", names, key="mask_projection", bind="query-params")
    with plot:
        chart(
            f"{measure.title} by layer and projection",
            f"{measure.sentence} (our measure). {_beside_chance(measure, counts, floor)}",
            _formula(measure),
            figures.grids(
                _beside(measure, counts, beside),
                measure.title.lower(),
                names,
                selected=(layer, names.index(name)),
                clickable=True,
            ),
            "mask_projections",
            table,
            hint="Click a cell to open it.",
            on_select=clicked,
            selection_mode="points",
        )
    heads = range(first.masks.geometry.heads) if name in comparison.heads else ()
    parts = [WHOLE_MATRIX, *(f"head {head}" for head in heads)]
    if st.session_state.get("mask_slice") not in (None, *parts):
        del st.session_state["mask_slice"]
    part = right.selectbox("Part", parts, key="mask_slice", bind="query-params", disabled=not heads)
    if not counts[layer, names.index(name), 0]:
        st.info(plain(f"Layer {layer} has no {name}."))
        return
    _picture(first, second, layer, name, None if part == WHOLE_MATRIX else parts.index(part) - 1)


def _window(shape: tuple[int, int]) -> mask_measures.Window:
    """The part of a matrix that is looked at. Keys carry the size, so that a kept range always lies inside."""
    ranges = []
    for column, side, size in zip(st.columns(2, gap="large"), ("output", "input"), shape, strict=True):
        last = size - 1
        ranges.append(
            column.slider(
                f"{side.capitalize()} features",
                0,
                last,
                (0, last),
                key=f"mask_{side}s_{size}",
                bind="query-params",
                help="Narrow it down until a cell is one weight.",
            )
            if last
            else (0, 0)
        )
    return ranges[0], ranges[1]


def _picture(first: Pruned, second: Pruned, layer: int, name: str, head: int | None) -> None:
    window = _window(mask_measures.part_shape(first, layer, name, head))
    (top, bottom), (left, right) = window
    most = figures.room(bottom - top + 1, right - left + 1)
    (a, b, differ), height, width = mask_measures.pictures(first, second, layer, name, head, window, most)
    exact = height == width == 1
    shown = [
        figures.Picture("first", a),
        figures.Picture("second", b),
        figures.Picture("second − first", compare.block_difference(a, b), signed=True),
    ]
    # Within a block what one run prunes more here and less there cancels out; what differs does not.
    shown += [] if exact else [figures.Picture("decided differently", differ)]
    cells = "one weight" if exact else f"{height} × {width} weights"
    rows, columns = (axis.ravel() for axis in np.indices(a.shape))
    table = pd.DataFrame(
        {
            "output": top + rows * height,
            "input": left + columns * width,
            "share pruned, first": a.ravel(),
            "share pruned, second": b.ravel(),
            "decided differently": differ.ravel(),
        }
    )
    chart(
        f"The masks of layer {layer}, {name}" + (f", head {head}" if head is not None else ""),
        f"Bright is pruned; a cell is {cells}. Blue: the second keeps more, red: it prunes more. They zoom together.",
        "Share of pruned weights in each block of the matrix (rows: output features, columns: input features), as many "
        "blocks as a screen has room for, and the second share minus the first.",
        figures.pictures(shown, height, width, (top, left)),
        "mask_picture",
        table,
    )


# --- depth ------------------------------------------------------------------------------------------------------


def _depth(comparison: Comparison, floor: Comparison | None) -> None:
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    with left:
        measure = _measure()
    with right:
        log = st.toggle("Log axis", value=True, key="mask_log", bind="query-params")
    parts = comparison.depth()
    beside = {} if floor is None else floor.depth()
    floors = {f"two calibration seeds, {compare.ALL}": measure.compute(beside[compare.ALL])} if beside else {}
    floors["independent masks"] = measure.independent(parts[compare.ALL])
    tables = [_table(counts, beside.get(name), "layer").assign(projections=name) for name, counts in parts.items()]
    lines = {name: measure.compute(counts) for name, counts in parts.items()}
    chart(
        f"{measure.title} over depth",
        f"{measure.sentence}, layer by layer (our measure). Dashed: what chance alone shows.",
        _formula(measure),
        figures.over_depth(lines, floors, measure.title.lower(), log),
        "mask_depth",
        pd.concat(tables),
    )
    if log and any((values == 0).any() for values in lines.values()):
        st.caption("Layers in which nothing differs are not on a log axis. The table has them.")


# --- several runs -----------------------------------------------------------------------------------------------


def _several(first: Pruned, second: Pruned, known: dict[str, Path]) -> None:
    options = list(dict.fromkeys([first.name, second.name, *known]))
    if "runs" not in st.session_state:
        alike = [name for name, folder in known.items() if run_of(folder).budget() == first.run.budget()]
        likely = list(dict.fromkeys([first.name, second.name, *alike]))[:8]
        st.session_state["runs"] = st.query_params.get_all("runs") or likely
    chosen = st.multiselect(
        "Runs",
        options,
        key="runs",
        accept_new_options=True,
        persist_state="session",
        max_selections=12,
        placeholder="choose runs, or type the paths of folders",
    )
    st.query_params["runs"] = chosen
    runs = []
    for name in chosen:
        one = first if name == first.name else second if name == second.name else open_pruned(name, known)
        problem = masks_file.why_not_comparable(first.masks, one.masks) if one is not None else ""
        if problem:
            st.caption(f"Left out: {plain(name)}. {plain(problem)}")
        elif one is not None:
            runs.append(one)
    if len(runs) < 2:
        st.info("Choose at least two runs of one architecture.")
        return
    counts = mask_measures.overlap(runs)
    similarity, chance = compare.jaccard(counts), compare.independent_jaccard(counts)
    labels = [one.label for one in runs]
    titles = [f"{one.label}: {one.run.title}" for one in runs]
    table = _table(counts, None, "first", "second").assign(jaccard=similarity.ravel(), chance=chance.ravel())
    table = table[table["first"] < table["second"]].rename(columns={"chance": "jaccard, independent masks"})
    for side in ("first", "second"):
        table[side] = [runs[index].name for index in table[side]]
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
        "Overlap of the pruned weights",
        "The Jaccard index of every two runs: 1 where they prune the same weights (our measure). "
        f"Independent masks of their sparsities: {reach}.",
        "$$J = \\frac{|A \\cap B|}{|A \\cup B|}, \\quad \\text{independent masks: } \\frac{pq}{p + q - pq}$$\n\n"
        f"over all projections. {OURS}",
        figures.overlap_matrix(similarity, labels, figures.overlap_lines(similarity, chance, titles)),
        "overlap",
        table,
    )


if __name__ == "__main__":
    run(main)
