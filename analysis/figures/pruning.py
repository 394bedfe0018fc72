"""Figures of a pruning run: what was removed where, and what the time went into."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import MASS_SCALE, TOKEN, as_text, color_bar, layout

_WRITTEN_LAYERS = 16  # up to this many layers every cell carries its number


def sparsity_grid(sparsity: np.ndarray, projections: Sequence[str], height: int = 260) -> go.Figure:
    """Layer × projection: the share of weights removed, (L, P), NaN where nothing was pruned (yet)."""
    layers = sparsity.shape[0]
    figure = go.Figure(
        go.Heatmap(
            z=sparsity.T.astype(np.float32),
            x=list(range(layers)),
            y=[as_text(projection) for projection in projections],
            zmin=0,
            zmax=1,
            colorscale=MASS_SCALE,
            colorbar=color_bar("sparsity", percent=True),
            xgap=1,
            ygap=1,
            texttemplate="%{z:.0%}" if layers <= _WRITTEN_LAYERS else None,
            hovertemplate="layer %{x}, %{y}<br>%{z:.2%} removed<extra></extra>",
            hoverongaps=False,
        )
    )
    layout(figure, "layer", "projection", height)
    figure.update_xaxes(dtick=1 if layers <= 32 else None, range=[-0.5, layers - 0.5])
    figure.update_yaxes(autorange="reversed")
    return figure


def phase_bar(phases: Sequence[tuple[str, float]]) -> go.Figure:
    """A horizontal bar for each phase of a run, (name, seconds) in order from above."""
    names, seconds = [as_text(name) for name, _ in phases], [spent for _, spent in phases]
    figure = go.Figure(
        go.Bar(
            y=names,
            x=seconds,
            orientation="h",
            marker={"color": TOKEN},
            text=[f"{spent:.1f}" for spent in seconds],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}<br>%{x:.2f} s<extra></extra>",
        )
    )
    layout(figure, "seconds", "", 90 + 26 * len(names))
    figure.update_layout(showlegend=False, bargap=0.35, margin={"r": 40})
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure
