"""Every run in one table; the ticked ones side by side: settings, accuracy, masks and texts."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine.runs import Run, known_runs
from analysis.exhibits.scored_runs import scored_alike
from analysis.words import DISCOUNT_TOLD, counted
from pages.parts.address import primary_link
from pages.parts.charts import start_exhibits
from pages.parts.controls import keyed_columns, title_row, views_row
from pages.parts.frame import run
from pages.parts.masks.view import masks_of
from pages.parts.run_rows import RUNS_ASKED
from pages.parts.runs.details import VIEW, open_run
from pages.parts.runs.overview import compare_settings, overview, say_scores, scores_of_runs, texts_of
from pages.parts.runs.table import clear_button, disk, filter_runs, import_runs, methods_chosen, runs_table
from pages.parts.session import engine

VIEWS = ("Overview", "Accuracy", "Masks", "Texts")
_LONG = 12  # rows of a table, beyond which it stands in a fold
_ASKED = "runs_asked_by_address"


def main() -> None:
    """Draw the page."""
    title_row("Runs").caption(f"Every pruned model. {DISCOUNT_TOLD}", width="stretch")
    start_exhibits()
    runs = known_runs(engine())
    answer = st.container(key="runs_answer")
    view, beside = views_row(VIEWS, VIEW)
    if view == VIEWS[0]:
        _all_runs(runs, answer, beside)
    else:
        chosen = _ticked_in_fold(runs) if runs else []
        if chosen:
            clear_button(beside, runs)
        if not runs:
            _no_runs(linked=False)
        _view(view, chosen, runs, beside)
    st.divider()
    import_runs()
    disk()


def _all_runs(runs: list[Run], answer: DeltaGenerator, beside: DeltaGenerator) -> None:
    """Draw the accuracies of runs, the table of all of them beneath, and what is ticked."""
    if not runs:
        _no_runs(linked=True)
        return
    filtered = filter_runs(runs, beside)
    alike = (scored_alike(filtered) or scored_alike(runs)) if filtered else None
    found = None if alike is None else overview(alike, every=methods_chosen())
    with _table_place(filtered):
        chosen = runs_table(runs, filtered, st.container(), {} if found is None else found.from_dense)
    if filtered:
        with answer:  # the other views have answers of their own
            say_scores(alike, found)
    if len(chosen) == 1:
        open_run(chosen[0])
    elif chosen:
        compare_settings(chosen)
    if chosen:
        clear_button(beside, runs)


def _table_place(runs: list[Run]) -> DeltaGenerator:
    """Return where the table stands: where it is long in a fold, open at first if the address asks for runs."""
    if len(runs) <= _LONG:
        return st.container()
    asked = st.session_state.setdefault(_ASKED, RUNS_ASKED in st.query_params)
    pruned = sum(run.kind == "pruned" for run in runs)
    rest = f" and {len(runs) - pruned} not pruned" if pruned < len(runs) else ""
    return st.expander(f"{counted(pruned, 'pruned model')}{rest}, one by one", expanded=asked, key="fold_runs_all")


def _ticked_in_fold(runs: list[Run]) -> list[Run]:
    """Draw the table in a fold, so that what the ticked runs show comes first; return these."""
    with st.expander("Tick runs to compare", key="fold_runs_table"):
        title, beside = keyed_columns([6, 1], "runs_table")
        return runs_table(runs, filter_runs(runs, beside), title, export=False)


def _no_runs(linked: bool) -> None:
    """Draw the page without runs. linked: with a link to the first run."""
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


if __name__ == "__main__":
    run(main)
