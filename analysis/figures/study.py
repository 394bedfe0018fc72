"""The figure of a study's accuracies over calibration seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.figures.style import PER_CENT, as_text, colors_by_method, grey_line, layout, named_ticks
from analysis.words import percent


@dataclass(frozen=True)
class Dots:
    """A method at one sparsity: its title, its mean, and the accuracy of every seed, as shares."""

    method: str
    name: str
    sparsity: float
    mean: float
    seeds: Sequence[float]


def seed_dots(dots: Sequence[Dots], dense: float, chance: float | None) -> go.Figure:
    """Draw the accuracy of every calibration seed as a dot and the mean as a bar mark, grouped by sparsity."""
    figure = go.Figure()
    methods = {group.name: group.method for group in dots}
    names = list(methods)
    sparsities = sorted({group.sparsity for group in dots})
    colors = dict(zip(names, colors_by_method(list(methods.values())), strict=True))
    for place, name in enumerate(names):
        of_name = [group for group in dots if group.name == name]
        x = [sparsities.index(group.sparsity) + 0.22 * (place - (len(names) - 1) / 2) for group in of_name]
        figure.add_scatter(
            x=[at for at, group in zip(x, of_name, strict=True) for _ in group.seeds],
            y=[100 * value for group in of_name for value in group.seeds],
            mode="markers",
            name=as_text(name),
            legendgroup=name,
            marker={"color": colors[name], "size": 8, "opacity": 0.65},
            hovertemplate=f"%{{y:.1f}}{PER_CENT}<extra>%{{fullData.name}}, one seed</extra>",
        )
        figure.add_scatter(
            x=x,
            y=[100 * group.mean for group in of_name],
            mode="markers",
            name=as_text(name),
            legendgroup=name,
            showlegend=False,
            marker={"symbol": "line-ew", "size": 22, "line": {"width": 3, "color": colors[name]}},
            hovertemplate=f"mean %{{y:.1f}}{PER_CENT}<extra>%{{fullData.name}}</extra>",
        )
    for level, dash, label in ((dense, "dash", "dense"), (chance, "dot", "chance")):
        if level is not None:
            figure.add_hline(
                y=100 * level,
                line=grey_line(dash),
                annotation_text=f"{label} {percent(level, 1)}",
                annotation_position="bottom right" if label == "dense" else "top right",
            )
    layout(figure, "sparsity", "accuracy", 340, legend=True)
    ticks = named_ticks([percent(sparsity, 0) for sparsity in sparsities])
    figure.update_xaxes(range=[-0.6, len(sparsities) - 0.4], **ticks)
    figure.update_yaxes(ticksuffix=PER_CENT)
    return figure
