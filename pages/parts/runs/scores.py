"""Accuracy of the ticked runs, in an evaluation that they share or joined item by item; and scoring them."""

import streamlit as st

from analysis.engine.runs import Run
from analysis.specs import ModelSpec
from pages.parts import address
from pages.parts.accuracy.choice import choose_evaluation, evaluations, score_settings
from pages.parts.accuracy.disagreements import disagreements
from pages.parts.accuracy.opening import joined_results
from pages.parts.accuracy.panel import accuracy_panel
from pages.parts.accuracy.results import accuracies, at_a_glance, differences
from pages.parts.acting import may_act
from pages.parts.charts import export_button
from pages.parts.plain import plain
from pages.parts.session import model_in_use


def scores_of_runs(chosen: list[Run], runs: list[Run]) -> None:
    """Draw the accuracy of the ticked runs, or the evaluation that the address names; scoring is in an expander.

    runs: all runs.
    """
    compared = sorted(chosen, key=lambda run: run.kind != "dense")  # the others are held against the first
    without = [run.name for run in compared if not run.evaluations]
    together = len(compared) > 1 and not without and not address.named("evaluation")
    default = compared[0].evaluations[0].record if len(compared) == 1 and compared[0].evaluations else None
    shown = choose_evaluation(None if together else default, none=together or (bool(compared) and default is None))
    _ask(chosen, runs, open_first=bool(without) or (shown is None and not together))
    if shown is not None:
        accuracy_panel(shown)
    elif together:
        _joined(compared)
    elif without:
        st.info(plain(f"Not scored yet: {', '.join(without)}."))
    elif not compared and not evaluations():
        st.info("No accuracies yet. Tick pruned models above and score them on the same items as the dense model.")


def _ask(chosen: list[Run], runs: list[Run], open_first: bool) -> None:
    """Draw the expander that scores the ticked runs beside their dense model."""
    pruned = [run for run in chosen if run.kind == "pruned" and run.runs]
    models = {run.model for run in pruned} or {run.source for run in chosen if run.kind == "dense"}
    if not chosen or not may_act():
        return
    with st.expander("Score the ticked runs", icon=":material/monitoring:", expanded=open_first, key="score_runs"):
        if len(models) != 1:
            st.caption(
                "Tick pruned copies of one model. Runs whose weights a sweep has dropped cannot be scored again."
            )
            return
        (source,) = models
        used = model_in_use()
        model = used if used.source == source else ModelSpec(source=source, device=used.device, dtype=used.dtype)
        of_model = {run.id: run for run in runs if run.kind == "pruned" and run.model == source and run.runs}
        score_settings(model, of_model, [run.id for run in pruned])


def _joined(runs: list[Run]) -> None:
    results = joined_results(runs)
    if results is None or not results.accuracies:
        return
    compared = at_a_glance(results)
    accuracies(results)
    differences(results, compared)
    disagreements(results)
    export_button("SinkScope: runs", {"runs": [run.name for run in runs]}, ", ".join(run.name for run in runs))
