"""Figures of a pruning run: weights removed by matrix, and where the time went."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import (
    FLAT_BAR,
    MASS_SCALE,
    PER_CENT,
    SYMBOLS,
    TOKEN,
    as_text,
    color_bar,
    flat_color_bar,
    layout,
    series_color,
    write_cells,
)

_WRITTEN_LAYERS = 16  # up to this many layers every cell carries its number


def sparsity_grid(sparsity: np.ndarray, projections: Sequence[str]) -> go.Figure:
    """Draw the share of weights removed by layer × projection, (L, P), NaN where nothing was pruned (yet)."""
    layers = sparsity.shape[0]
    written = layers <= _WRITTEN_LAYERS
    figure = go.Figure(
        go.Heatmap(
            z=(100 * sparsity.T).astype(np.float32),
            x=list(range(layers)),
            y=[as_text(projection) for projection in projections],
            zmin=0,
            zmax=100,
            colorscale=MASS_SCALE,
            colorbar=(flat_color_bar if written else color_bar)("sparsity", percent=True),
            xgap=1,
            ygap=1,
            texttemplate=f"%{{z:.0f}}{PER_CENT}" if written else None,
            hovertemplate=f"layer %{{x}}, %{{y}}<br>%{{z:.2f}}{PER_CENT} removed<extra></extra>",
            hoverongaps=False,
        )
    )
    layout(figure, "layer", "projection", 260 + FLAT_BAR * written)
    figure.layout.margin.t = FLAT_BAR if written else figure.layout.margin.t
    figure.update_xaxes(dtick=1 if layers <= 32 else None, range=[-0.5, layers - 0.5])
    figure.update_yaxes(autorange="reversed")
    return write_cells(figure)


def layer_profiles(profiles: Mapping[str, np.ndarray]) -> go.Figure:
    """Draw sparsity over depth, one line per run: by name the share of weights removed in each layer, (L,)."""
    figure = go.Figure()
    for place, (name, profile) in enumerate(profiles.items()):
        figure.add_scatter(
            x=list(range(len(profile))),
            y=100 * np.asarray(profile, np.float32),
            mode="lines+markers",
            name=as_text(name),
            line={"color": series_color(place), "width": 2},
            marker={"symbol": SYMBOLS[place % len(SYMBOLS)], "size": 8},
            hovertemplate=f"layer %{{x}}<br>%{{y:.2f}}{PER_CENT} removed",
        )
    layout(figure, "layer", "sparsity", 300, legend=True)
    figure.update_xaxes(dtick=1 if all(len(profile) <= 32 for profile in profiles.values()) else None)
    ends = 100 * np.concatenate([np.zeros(0), *profiles.values()])
    if len(ends):  # flat lines would get an axis beyond 0–100 %
        figure.update_yaxes(range=[max(float(ends.min()) - 5, -1), min(float(ends.max()) + 5, 101)])
    figure.update_yaxes(ticksuffix=PER_CENT)
    return figure


def phase_bar(phases: Sequence[tuple[str, float]]) -> go.Figure:
    """Draw a horizontal bar per phase of a run, (name, seconds) in order from the top."""
    figure = go.Figure(
        go.Bar(
            y=[as_text(name) for name, _ in phases],
            x=[seconds for _, seconds in phases],
            orientation="h",
            marker={"color": TOKEN},
            text=[f"{seconds:.1f}" for _, seconds in phases],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}<br>%{x:.2f} s<extra></extra>",
        )
    )
    layout(figure, "seconds", "", 90 + 26 * len(phases), legend=False)
    figure.update_layout(bargap=0.35, margin_r=40)
    figure.update_yaxes(autorange="reversed")
    return figure
