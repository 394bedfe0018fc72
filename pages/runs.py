"""Every run in one table: a model, how it was pruned, and what its evaluations found; open one, compare up to eight."""

import streamlit as st

from analysis.engine.runs import known_runs
from pages.parts.charts import start_exhibits
from pages.parts.frame import run
from pages.parts.runs.comparison import compare_runs
from pages.parts.runs.details import open_run
from pages.parts.runs.disk import disk
from pages.parts.runs.importing import import_runs
from pages.parts.runs.table import runs_table
from pages.parts.session import engine


def main() -> None:
    """Draws the page."""
    st.title("Runs")
    start_exhibits()
    st.caption(
        "A run is a model, how it was pruned, and what its evaluations found. Tick one to open it, up to eight to "
        "compare them."
    )
    import_runs()
    runs = known_runs(engine())
    if runs:
        chosen = runs_table(runs)
        if len(chosen) == 1:
            open_run(chosen[0], runs)
        elif chosen:
            compare_runs(chosen)
    else:
        st.info("There is no run yet. Prune a model, evaluate one or import results; each stands here from then on.")
        with st.container(horizontal=True):
            st.page_link("pages/pruning.py", label="**Prune the model**", icon=":material/content_cut:")
            st.page_link("pages/accuracy.py", label="**Compare the accuracy**", icon=":material/monitoring:")
    st.divider()
    disk()


if __name__ == "__main__":
    run(main)
