"""What results over prompts are drawn with: figures beside one text, the table of shifts, the order on a phone."""

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from analysis.figures.export import Exhibit
from analysis.findings.shifts import SHIFTS, SHIFTS_TOLD
from pages.parts.charts import chart
from pages.parts.controls import PHONE, figures_beside, order_on_a_phone
from pages.parts.plain import plain

Figures = Mapping[str, Exhibit | None]
"""Figures by name; None where the summary does not hold what one shows."""
NEXT, NOTE, _SHIFTS = "causes_next", "causes_note", "shifts"
"""Keys of containers: with the ways on, with the definition of a sink, with the table of shifts."""
CHANGED = "Changed tokens and predictions"
"""Title of the fold with what hiding changes besides perplexity."""
# On a phone the name of a row stands above its numbers, each of which has its interval beneath it.
_SHIFTED = f"""<style>@media (max-width:{PHONE}px){{
.st-key-shifts table,.st-key-shifts :is(thead,tbody){{display:block;width:100%}}
.st-key-shifts tr{{display:grid;grid-template-columns:repeat(3,minmax(0,1fr))}}
.st-key-shifts :is(th,td){{padding:.2rem .25rem;border:0;font-size:.8rem;min-width:0}}
.st-key-shifts :is(th,td):first-child{{grid-column:1/-1;font-weight:600;padding-top:.5rem;
border-top:1px solid color-mix(in srgb,currentColor 15%,transparent)}}}}</style>"""


def draw_figures(shown: Figures, key: str) -> None:
    """Draw those figures by name that are there, two beside each other."""
    figures = [(name, figure) for name, figure in shown.items() if figure is not None]
    for start in range(0, len(figures), 2):
        places = figures_beside(2, f"{key}_{figures[start][0]}")
        for column, (name, figure) in zip(places, figures[start : start + 2], strict=False):
            with column:
                chart(figure, f"{key}_{name}")


def with_example(shown: Figures, example: Callable[[], None] | None, key: str) -> None:
    """Draw figures, a single one across the page, and one text beneath them. example: draws it; None: there is none."""
    figures = {name: figure for name, figure in shown.items() if figure is not None}
    with st.container(key=f"{key}_figures"):
        if len(figures) == 1:
            for name, figure in figures.items():
                chart(figure, f"{key}_{name}")
        else:
            draw_figures(figures, key)
    if example is not None:
        with st.container(key=f"{key}_text"):
            example()


def answer_first(key: str, rows: Mapping[str, Sequence[int]], last: str) -> None:
    """Set on a phone the figure right below the answer, above the definition of a sink and the text. key: as of
    `with_example`. rows, last: as of `order_on_a_phone`.
    """
    order_on_a_phone(rows, {f"{key}_figures": 1, NOTE: 2, f"{key}_text": 3}, last)


def draw_shifts(rows: Sequence[tuple[str, ...]]) -> None:
    """Draw rows of `findings.shifts.shifts` as a small table, where there are any."""
    if not rows:
        return
    st.html(_SHIFTED)
    with st.container(key=_SHIFTS):
        st.markdown("**Shift of predicted probabilities**")
        st.caption(SHIFTS_TOLD)
        first, *others = (f"| {' | '.join(plain(cell) for cell in line)} |" for line in (SHIFTS, *rows))
        table = "\n".join([first, "| --- " * len(SHIFTS) + "|", *others])
        st.markdown(table.replace("\u00a0\\[", " \\["))  # an interval may stand beneath its number
