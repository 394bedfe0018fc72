"""Effects of a setting of the discount, computed from stored statistics: masks, errors, weights, text, scores."""

from collections.abc import Callable, Sequence
from html import escape

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analysis.engine import JobRecord
from analysis.figures import masks as grids
from analysis.figures import tuning as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.sinks.step_inputs import position_name
from analysis.specs import TuneParams
from analysis.tuning import bin_error
from analysis.tuning import effects as tuning
from analysis.tuning.effects import Effects, LayerEffect, Total
from analysis.tuning.statistics_file import StoredStatistics, steps_of
from analysis.words import percent
from pages.parts.charts import card, cells, chart, chart_in_fold, download_buttons, heading
from pages.parts.controls import keyed_columns, pick
from pages.parts.plain import plain
from pages.parts.recordings.choice import within
from pages.parts.tuning import preview
from pages.parts.tuning.preview import Opened

_STYLE = """<style>
.ss-discount{line-height:2.1;padding:.35rem 0}
.ss-discount span{display:inline-block;line-height:1.45;padding:0 .32em;margin:0 .1em;border-radius:.3em;
  border:1px solid transparent;white-space:pre}
.ss-discount .mask{border:1px dashed rgba(128,138,156,.5);font-size:.78em}
</style>"""


def shade(omega: float) -> str:
    """Return the background of a token of weight ω."""
    return f"rgba(232,89,12,{0.7 * (1 - min(max(omega, 0.0), 1.0)):.2f})"


def discounted_text(labels: Sequence[str], masked: Sequence[bool], omega: Sequence[float], z: Sequence[float]) -> str:
    """Return the HTML of one sequence. All text is escaped: calibration text may hold markup."""
    spans = []
    for position, (label, hidden, weight, above) in enumerate(zip(labels, masked, omega, z, strict=True)):
        text = "[MASK]" if hidden else (label.replace("\n", "⏎").strip() or "␣")
        kind = ' class="mask"' if hidden else ""
        note = f"position {position} · ω {weight:.3f} · z {above:+.2f}"
        spans.append(f'<span{kind} style="background:{shade(weight)}" title="{note}">{escape(text)}</span>')
    return f'<div class="ss-discount" role="group" aria-label="Text with its token weights">{"".join(spans)}</div>'


def legend() -> str:
    """Return the shades' legend."""
    parts = [f'<span style="background:{shade(omega)}">ω = {omega:g}</span>' for omega in (1, 0.5, 0)]
    return f'<div class="ss-discount">{"".join(parts)}<span class="mask">[MASK]</span></div>'


def show(*parts: str) -> None:
    """Put it on the page."""
    st.html(_STYLE + "".join(parts))


_COPIES = {
    "noised": "Noised: each block sees itself and the clean text of the blocks before it. Both copies count.",
    "clean": "The clean copy that it is read beside.",
}
VIEWS = ("Token weights", "Text", "Scores", "Output error")
"""Beside the masks."""
_SCORE = (
    "$$s_j = \\sum_t c_t \\sum_n \\lVert \\omega_{n,t} \\odot X_{n,t,j} \\rVert_2, \\quad "
    "\\text{pruned: the lowest } |W_{ij}|\\,s_j \\text{ of each row}$$\n\n"
    "(arXiv 2602.17664; the step weights $c_t$ are ours)"
)

_WEIGHT = (
    "$$\\omega = 1 - \\lambda\\,\\varphi, \\quad \\varphi = \\sigma(\\alpha\\,(M - \\bar M - k\\,\\mathrm{std}))$$\n\n"
    "(arXiv 2602.17664; soft, α in units of mass)"
)


def masks_preview(found: Opened, named: dict[str, TuneParams], beside: str = "") -> None:
    """Draw which weights settings choose differently, by layer and projection, beside another calibration seed. named:
    by name. beside: what stands beside one setting as long as no other seed is stored.
    """
    statistics = found.statistics

    def growing(so_far: Effects) -> go.Figure:
        shown = _over_projections(statistics, "with the discount", so_far.changed)
        return grids.changed_by_projection([shown], statistics.info.short_names)

    stacked = {name: tuning.together(layers) for name, layers in _effects(found, named, growing).items()}
    _changed(found.statistics, stacked, beside)
    with chart_in_fold(
        "Layer by layer, and output error",
        "fold_prune_map",
        lambda: _changed_map(found.statistics, stacked),
        "tuning_changed_map",
    ):
        _numbers(found, stacked)


def draw_view(view: str, found: Opened, named: dict[str, TuneParams]) -> None:
    """Draw one of VIEWS."""
    statistics = found.statistics
    if view == "Token weights":
        _discount(statistics, named)
    elif view == "Text":
        _text(statistics, next(iter(named.values())))
    elif view == "Scores":
        _scores(statistics, _effects(found, named))
    else:
        _errors(found, {name: tuning.together(layers) for name, layers in _effects(found, named).items()})


def _effects(
    found: Opened, named: dict[str, TuneParams], growing: Callable[[Effects], go.Figure] | None = None
) -> dict[str, list[LayerEffect]]:
    return {
        name: preview.every_layer(found.statistics, found.key, setting, name, growing)
        for name, setting in named.items()
    }


def what_is_stored(statistics: StoredStatistics, job: JobRecord) -> None:
    """Say in small print where the numbers come from."""
    info, (sequences, levels) = statistics.info, statistics.mass.shape[:2]
    length = statistics.arrays["tokens"].shape[1]
    beside = ", each beside its clean copy as in the model's training," if info.beside_clean else ""
    how = "by token, exact for every setting" if info.grouping == "tokens" else f"in {len(info.edges) + 1} bins of z"
    size = job.summary["bytes"] / 1e6
    st.caption(
        f"{sequences:d} sequences of {length:d} tokens{beside} at {levels:d} noise steps · squares stored {how} · "
        f"{size:,.0f} MB · calibration seed {info.spec.calibration.seed:d}, floor from seed {info.other_seed:d}, "
        f"{info.spec.heldout:d} held-out sequences"
    )
    st.caption("Masks lose the lowest of each row, ranked by the dense model, as published; the rest needs a run.")
    if info.grouping == "bins":
        measured = ":material/info:" if info.bin_errors else ":material/warning:"
        st.caption(f"{measured} {plain(bin_error.in_words(info.bin_errors))}")
    for note in info.notes:
        st.caption(f":material/info: {plain(note)}")
    if statistics.sampled:
        st.caption(":material/info: Shares are of sampled rows; the hover and the table give their 95 % interval.")


# --- numbers ----------------------------------------------------------------------------------------------------


def _numbers(found: Opened, effects: dict[str, Effects]) -> None:
    statistics = found.statistics
    for name, effect in effects.items():
        total: Total = tuning.total(effect, statistics.sizes)
        columns = keyed_columns(2, f"tuning_numbers_{len(name)}")
        card(columns[0], f"Weights chosen differently, {name}", percent(total.changed, 3), help=_SCORE)
        floor = percent(total.floor, 3) if statistics.has_floor else found.instead("seed_floor")
        card(columns[1], "With another calibration seed", floor)
        beneath = st.container()
        if statistics.has_grams:
            card(
                beneath,
                f"Mean output error, {name}",
                percent(total.error, 3),
                f"{100 * (total.error - total.plain_error):+.4f} points",
                note=_beside_seed(total),
                delta_color="inverse",
            )
        else:
            card(beneath, "Mean output error", found.instead("heldout"))


def _beside_seed(total: Total) -> str:
    """Say what to compare the change in output error with: no discount, and another calibration seed."""
    if np.isnan(total.other_error):
        return "against no discount"
    return f"against no discount; another calibration seed: {100 * (total.other_error - total.plain_error):+.4f}"


def _table(statistics: StoredStatistics, effects: dict[str, Effects]) -> pd.DataFrame:
    columns: dict[str, np.ndarray] = {}
    for name, effect in effects.items():
        columns |= {
            f"changed, {name}": effect.changed,
            f"± (95 %), {name}": effect.spread,
            f"changed by another seed, {name}": effect.floor,
            f"output error, {name}": effect.error,
            f"output error without discount, {name}": effect.plain_error,
        }
    axes = {"layer": range(len(statistics.sizes)), "projection": list(statistics.info.inputs)}
    return cells(axes, columns)


# --- views ------------------------------------------------------------------------------------------------------


def _changed(statistics: StoredStatistics, effects: dict[str, Effects], beside: str) -> None:
    """Draw what share of the weights settings decide differently, by projection, beside another calibration seed.
    beside: as of `masks_preview`."""
    shown = [
        _over_projections(statistics, "with the discount" if len(effects) == 1 else name, effect.changed)
        for name, effect in effects.items()
    ]
    if statistics.has_floor:
        floor = next(iter(effects.values())).floor
        shown.append(_over_projections(statistics, "another calibration seed", floor, True))
    missing = "" if statistics.has_floor else " What another calibration seed changes is not measured yet."
    chart(
        Exhibit(
            "Weights chosen differently by matrix",
            f"Kept with the discount or without it, not both. {grids.MATRICES}{missing}",
            grids.changed_by_projection(shown, statistics.info.short_names),
            _table(statistics, effects),
            formula=_SCORE,
            finding=_changed_in_words(statistics, effects, beside),
        ),
        "tuning_changed",
    )


def _over_projections(
    statistics: StoredStatistics, name: str, shares: np.ndarray, is_floor: bool = False
) -> grids.Changed:
    """Return shares of the weights, (L, P), with those of each projection over all layers."""
    there = np.where(np.isfinite(shares), statistics.sizes, 0)
    total = there.sum(axis=0)
    whole = np.divide(np.nansum(shares * there, axis=0), total, out=np.full(len(total), np.nan), where=total > 0)
    return grids.Changed(name, whole, shares, is_floor)


def _changed_map(statistics: StoredStatistics, effects: dict[str, Effects]) -> Exhibit:
    """Return the same layer by layer."""
    beyond = statistics.has_floor
    sentence = (
        "How much more (red) or less (blue) the discount changes than another calibration seed does without one: the "
        "share of weights whose kept-or-pruned decision differs, less that of two seeds."
        if beyond
        else "The share of weights whose kept-or-pruned decision differs from that without a discount. What another "
        "calibration seed changes is not measured yet: without it this does not tell a discount from chance."
    )
    shown = [
        grids.beyond(name, effect.changed, effect.floor, figures.spread_lines(effect.spread), "chosen differently")
        if beyond
        else grids.Grid(name, effect.changed, figures.spread_lines(effect.spread))
        for name, effect in effects.items()
    ]
    return Exhibit(
        "Weights chosen differently: discount minus another seed" if beyond else "Weights chosen differently",
        sentence,
        grids.grids(
            shown,
            "chosen differently, minus another seed" if beyond else "weights chosen differently",
            grids.in_words(statistics.info.short_names),
            signed=beyond,
            bar_title="points, 0 = another calibration seed" if beyond else "",
        ),
        formula=_SCORE,
    )


def _changed_in_words(statistics: StoredStatistics, effects: dict[str, Effects], beside: str) -> str:
    totals = {name: tuning.total(effect, statistics.sizes) for name, effect in effects.items()}
    if len(effects) == 1:
        (total,) = totals.values()
        told = finding_of("discounted mask", [total.changed], [total.floor], 0.0)
        return f"{told.removesuffix('.')}; {beside}." if beside and not statistics.has_floor else told
    if not statistics.has_floor:
        return ""
    changed = {name: total.changed for name, total in totals.items()}
    return finding_of("change against seeds", changed, next(iter(totals.values())).floor)


def _errors(found: Opened, effects: dict[str, Effects]) -> None:
    statistics = found.statistics
    if "heldout" in statistics.missing:
        st.info(plain(f"The output error is {found.instead('heldout')}: it needs a run of the model on held-out text."))
        return
    if not statistics.has_grams:
        st.info("Gram matrices of the held-out text were too large to store. Raise the room for squares to have them.")
        return
    names = statistics.info.short_names
    totals = {name: tuning.total(effect, statistics.sizes) for name, effect in effects.items()}
    formula = (
        "$$\\frac{\\lVert WX - \\tilde W X \\rVert}{\\lVert WX \\rVert}$$\n\non the inputs $X$ of the dense model on "
        "held-out noised sequences; $\\tilde W$ is $W$ with the mask's weights at zero."
    )
    errors = {name: effect.error for name, effect in effects.items()}
    errors["no discount"] = next(iter(effects.values())).plain_error
    top = max(float(np.nanmax(values)) for values in errors.values())
    said = finding_of(
        "output error", {name: total.error for name, total in totals.items()}, next(iter(totals.values())).plain_error
    )
    # One plot each, stacked on narrow screens, so that their numbers stay legible.
    for index, (name, values) in enumerate(errors.items()):
        if index % 2 == 0:
            places = st.columns(2, gap="medium", vertical_alignment="bottom")
        with places[index % 2]:
            chart(
                Exhibit(
                    f"Output error of each projection, {name}",
                    "How far the pruned projection's outputs lie from the dense one's.",
                    grids.grids([grids.Grid("", values)], "output error", names, top=top),
                    _table(statistics, effects),
                    formula=formula,
                    finding=said if index == 0 else "",
                ),
                "tuning_errors" if index == 0 else f"tuning_errors_{index}",
            )
    st.divider()
    chart(
        Exhibit(
            "Output error against no discount",
            "Blue: the discount's mask serves the outputs better; red: worse. Relative to the error without a "
            "discount.",
            grids.grids(
                [grids.Grid(name, effect.error_change) for name, effect in effects.items()],
                "output error, relative change",
                names,
                signed=True,
                unit="%",
            ),
            formula=formula,
            finding=finding_of(
                "changes of errors",
                {
                    ("the discount" if len(effects) == 1 else name): effect.error_change
                    for name, effect in effects.items()
                },
                names,
            ),
        ),
        "tuning_error_change",
    )


def _discount(statistics: StoredStatistics, named: dict[str, TuneParams]) -> None:
    layer = 0
    if any(variant.discount.sink_scope == "layer" for variant in named.values()):
        layer = _choose_layer(statistics)
    curves = {
        name: tuning.discount_curve(statistics.mass, variant.discount, steps_of(statistics, variant), layer)
        for name, variant in named.items()
    }
    first, setting = next(iter(curves.values())), next(iter(named.values()))
    table = pd.DataFrame({"z": first.z})
    for name, curve in curves.items():
        for part in ("low", "median", "high"):
            table[f"ω {part}, {name}"] = getattr(curve, part)
    table["tokens up to the next z"] = [*first.counts, 0]
    averaged = " ω is then averaged over the steps of a sequence." if setting.discount.sink_steps == "mean" else ""
    chart(
        Exhibit(
            "Token weight over attention mass",
            "What a token counts by how far its attention mass lies above its step's mean; band: the middle 80 % of "
            f"steps. Bars: the calibration's tokens. Dashed: k.{averaged}",
            figures.discount_curves(
                {name: (curve.z, curve.low, curve.median, curve.high) for name, curve in curves.items()},
                first.counts,
                setting.discount.sink_std,
            ),
            table,
            formula=_WEIGHT,
            finding=finding_of("token weights", first.counts, (first.median[1:] + first.median[:-1]) / 2),
        ),
        "tuning_curve",
    )


def _choose_layer(statistics: StoredStatistics) -> int:
    within("tuning_layer", statistics.info.layers - 1)
    return pick("Layer", range(statistics.info.layers), "tuning_layer")


def _text(statistics: StoredStatistics, setting: TuneParams) -> None:
    info = statistics.info
    left, middle, right = keyed_columns(3, "tuning_text")
    within("tuning_sequence", len(statistics.mass) - 1)
    with left:
        sequence = pick("Sequence", range(len(statistics.mass)), "tuning_sequence")
    with middle:
        step = pick("Noise step", info.levels, "tuning_level", index=len(info.levels) // 2)
    layer = 0
    if setting.discount.sink_scope == "layer":
        with right:
            layer = _choose_layer(statistics)
    level = info.levels.index(step)
    omega, z = tuning.seen_tokens(statistics.mass, setting.discount, sequence, level, layer)
    labels, tokens = statistics.labels(sequence, level), statistics.arrays["noised"][sequence, level]
    masked = (tokens == info.mask_token).tolist()
    length = statistics.arrays["tokens"].shape[1]
    heading(
        "The calibration text as the discount sees it",
        "The stronger the shade, the less a token counts. Hover for its weight and z.",
        _SCORE,
        finding_of(
            "discounted tokens",
            np.array(omega[:length]),
            [
                position_name(at, label, "masked" if hidden else "")
                for at, (hidden, label) in enumerate(zip(masked[:length], labels[:length], strict=True))
            ],
        ),
    )
    copies = {"noised": slice(0, length)} | ({"clean": slice(length, None)} if info.beside_clean else {})
    show(legend())
    for copy, part in copies.items():
        if info.beside_clean:
            st.caption(_COPIES[copy])
        show(discounted_text(labels[part], masked[part], omega[part].tolist(), z[part].tolist()))
    if setting.discount.discount_strength > 0 and min(omega) > 0.99:
        st.caption("No token of this sequence is discounted at this step.")
    table = pd.DataFrame({"position": np.arange(len(labels)) % length, "token": labels, "masked": masked})
    if info.beside_clean:
        table.insert(0, "copy", np.repeat(list(copies), length))
    table = table.assign(z=z, ω=omega)
    if st.toggle("Table", key="tuning_text_table", bind="query-params"):
        st.dataframe(table, hide_index=True, height=220)
        download_buttons(table, "tuning_text", "tokens")


def _scores(statistics: StoredStatistics, effects: dict[str, list[LayerEffect]]) -> None:
    names = statistics.info.input_titles
    by_name = {name: [tuning.shift_quantiles(layer.shifts) for layer in layers] for name, layers in effects.items()}
    ends = np.array([row for layers in by_name.values() for layer in layers for row in layer.values()])
    low, high = float(ends.min()), float(ends.max())
    reach = (low - 0.04 * (high - low), high + 0.04 * (high - low)) if high > low else None
    for name, quantiles in by_name.items():
        rows = [
            {
                "layer": layer,
                "input": names[given],
                "1 %": q[0],
                "25 %": q[1],
                "median": q[2],
                "75 %": q[3],
                "99 %": q[4],
            }
            for layer, layer_quantiles in enumerate(quantiles)
            for given, q in layer_quantiles.items()
        ]
        chart(
            Exhibit(
                f"Feature scores moved by the discount, {name}",
                "How far each feature's score moves against the others of its input: boxes hold the middle half of the "
                "features, whiskers the middle 98 %. A common factor changes no mask and is taken out.",
                figures.score_shifts(quantiles, names, reach),
                pd.DataFrame(rows),
                formula="$$\\frac{s_j / s_j^{\\omega=1}}{\\mathrm{median}_j(s_j / s_j^{\\omega=1})} - 1$$\n\nThis "
                "measure is ours.",
                finding=finding_of("shifts of scores", np.array([row for each in quantiles for row in each.values()])),
            ),
            f"tuning_shifts_{'a' if name == 'A' else 'b'}",
        )
