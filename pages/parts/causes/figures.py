"""Figures of an experiment over prompts, and one text beside a single one."""

from collections.abc import Callable, Mapping

from analysis.figures.export import Exhibit
from pages.parts.charts import chart
from pages.parts.columns import figures_beside


def draw_figures(shown: Mapping[str, Exhibit], key: str) -> None:
    """Draw figures by name, two beside each other."""
    figures = list(shown.items())
    for start in range(0, len(figures), 2):
        places = figures_beside(2, f"{key}_{figures[start][0]}")
        for column, (name, figure) in zip(places, figures[start : start + 2], strict=False):
            with column:
                chart(figure, f"{key}_{name}")


def beside_example(shown: Mapping[str, Exhibit], example: Callable[[], None] | None, key: str) -> None:
    """Draw figures, and one text at the right where there is one and a single figure. example: draws the text."""
    if example is None or len(shown) != 1:
        draw_figures(shown, key)
        return
    left, right = figures_beside(2, f"{key}_example")
    with left:
        for name, figure in shown.items():
            chart(figure, f"{key}_{name}")
    with right:
        example()
