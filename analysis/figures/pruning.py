"""Figures of a pruning run: what was removed where, and what the time went into."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import MASS_SCALE, REFERENCE, TOKEN, color_bar, layout

_WRITTEN_LAYERS = 16  # up to this many layers every cell carries its number


def sparsity_grid(sparsity: np.ndarray, projections: Sequence[str], height: int = 260) -> go.Figure:
    """Layer × projection: the share of weights removed, (L, P), NaN where nothing was pruned (yet)."""
    layers = sparsity.shape[0]
    figure = go.Figure(
        go.Heatmap(
            z=sparsity.T.astype(np.float32),
            x=list(range(layers)),
            y=list(projections),
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
    """One horizontal bar cut into the phases of a run, (name, seconds) in order."""
    colors = [TOKEN, "#36a796", "#b58af0", REFERENCE, "#e8a33c", "#5bc0de"]
    figure = go.Figure(
        [
            go.Bar(
                y=[""], x=[seconds], name=name, orientation="h", marker={"color": colors[index % len(colors)]},
                hovertemplate=f"{name}<br>%{{x:.1f}} s<extra></extra>",
            )
            for index, (name, seconds) in enumerate(phases)
        ]
    )  # fmt: skip
    layout(figure, "seconds", "", 130)
    figure.update_layout(barmode="stack", legend={"traceorder": "normal"})
    figure.update_yaxes(showticklabels=False)
    return figure
