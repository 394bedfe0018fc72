"""Every run in one table; the ticked ones side by side: settings, accuracy, masks and texts."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine.runs import Run, known_runs
from analysis.exhibits.scored_runs import scored_alike
from pages.parts.charts import start_exhibits
from pages.parts.frame import run
from pages.parts.masks.view import masks_of
from pages.parts.primary_link import primary_link
from pages.parts.runs.comparison import compare_settings
from pages.parts.runs.details import open_run
from pages.parts.runs.disk import disk
from pages.parts.runs.importing import import_runs
from pages.parts.runs.links import VIEW
from pages.parts.runs.overview import overview, paired, say_scores
from pages.parts.runs.scores import scores_of_runs
from pages.parts.runs.table import any_ticked, clear_button, runs_table
from pages.parts.runs.texts import texts_of
from pages.parts.session import engine
from pages.parts.side import views_row

VIEWS = ("Overview", "Accuracy", "Masks", "Texts")


def main() -> None:
    """Draws the page."""
    st.title("Runs")
    start_exhibits()
    runs = known_runs(engine())
    empty = st.container()
    alike = scored_alike(runs)
    against = None if alike is None else paired(alike)
    answer = st.container(key="runs_answer")
    view, beside = views_row(VIEWS, VIEW)
    if alike is not None and view == VIEWS[0]:  # the other views have answers of their own
        with answer:
            say_scores(alike, against)
    first = st.container(key="runs_first")  # above the table, as long as nothing is ticked there
    with _place_of_table(view, runs):
        chosen = runs_table(runs) if runs else []
    if chosen:
        clear_button(beside, runs)
    if not runs:
        with empty:
            _no_runs(linked=view == VIEWS[0])
    if view == VIEWS[0] and not chosen and alike is not None:
        with first:
            overview(alike, against)
    else:
        _view(view, chosen, runs, beside)
    st.divider()
    import_runs()
    disk()


def _place_of_table(view: str, runs: list[Run]) -> DeltaGenerator:
    """Return where the table stands: in a fold above what is not about all runs, open where some are ticked."""
    if view == VIEWS[0] or not runs:
        return st.container(key="runs_all")
    return st.expander("Tick other runs to compare", expanded=any_ticked(), key="fold_runs_table")


def _no_runs(linked: bool) -> None:
    """linked: whether the way to the first run is drawn; the other views have theirs."""
    st.info("No runs yet. This page lists every model you prune, score or import, and compares them side by side.")
    if linked:
        primary_link("pages/prune.py", "**Prune the model**", ":material/content_cut:")


def _view(view: str, chosen: list[Run], runs: list[Run], beside: DeltaGenerator) -> None:
    if view == "Accuracy":
        scores_of_runs(chosen, runs, beside)
    elif view == "Masks":
        masks_of(chosen)
    elif view == "Texts":
        texts_of(chosen)
    elif len(chosen) == 1:
        open_run(chosen[0])
    elif chosen:
        compare_settings(chosen)
    elif runs:
        st.caption("Tick a run to open it, or two to eight to see which settings differ.")


if __name__ == "__main__":
    run(main)
