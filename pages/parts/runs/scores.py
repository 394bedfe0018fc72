"""Accuracy of the ticked runs, in an evaluation that they share or joined item by item; and scoring them."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine.run_pairs import RunPair, pairs_by_setting, title_of
from analysis.engine.runs import Run
from analysis.evaluation.results import Results
from analysis.specs import ModelSpec
from pages.parts.accuracy.choice import choose_evaluation, evaluations, score_settings
from pages.parts.accuracy.opening import joined_results
from pages.parts.accuracy.panel import accuracy_panel, joined_panel
from pages.parts.acting import may_act
from pages.parts.controls import pick
from pages.parts.plain import plain
from pages.parts.pruning.outcome import ALL_SEEDS, pair_results, scored_pairs
from pages.parts.session import model_in_use


def scores_of_runs(chosen: list[Run], runs: list[Run], place: DeltaGenerator) -> None:
    """Draw the accuracy of the ticked runs, or the evaluation that the address names; scoring is in an expander. Where
    nothing is ticked: with against without the discount at the newest setting, over all its calibration seeds.

    runs: all runs. place: of the box of evaluations.
    """
    compared = sorted(chosen, key=lambda run: run.kind != "dense")  # the others are held against the first
    without = [run.name for run in compared if not run.evaluations]
    settings = [] if compared else list(filter(None, map(scored_pairs, pairs_by_setting(runs))))
    pairs = _one_setting(settings, place) if settings else []
    together = len(compared) > 1 and not without
    default = compared[0].evaluations[0].record if len(compared) == 1 and compared[0].evaluations else None
    instead = ALL_SEEDS if pairs else "the ticked runs" if together or (compared and default is None) else ""
    shown = choose_evaluation(default, instead, place=place)
    if shown is not None:
        accuracy_panel(shown)
    elif pairs:
        _joined(pair_results(pairs), [run for pair in pairs for run in (pair.run, pair.control)])
    elif together:
        _joined(joined_results(compared), compared)
    elif without:
        st.info(plain(f"Not scored yet: {', '.join(without)}."))
    elif not compared and not evaluations():
        st.info("No accuracies yet. Tick pruned models above and score them on the same items as the dense model.")
    _ask(chosen, runs, open_first=bool(without) or (shown is None and not together))


def _one_setting(settings: list[list[RunPair]], place: DeltaGenerator) -> list[RunPair]:
    """Draw the box of settings, the newest first, and return the pairs of the chosen one."""
    names = [title_of(pairs[0].spec, method=True) for pairs in settings]
    if len(settings) < 2:
        return settings[0]
    chosen = pick("Setting", names, "accuracy_setting", place, label_visibility="collapsed", width=240)
    return settings[names.index(chosen)]


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


def _joined(results: Results | None, runs: list[Run]) -> None:
    if results is not None and results.accuracies:
        joined_panel(results, [run.name for run in runs])
