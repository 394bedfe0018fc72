"""The accuracies of the scored runs beside the dense model's and chance, before a run is ticked."""

from collections.abc import Sequence

import streamlit as st

from analysis.engine.run_pairs import RunPair, pairs_by_setting
from analysis.engine.runs import Run
from analysis.exhibits.scored_runs import Alike, by_sparsity
from analysis.figures import sweep as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.specs import detail, where
from pages.parts.accuracy.opening import joined_results
from pages.parts.charts import chart, kept
from pages.parts.plain import plain
from pages.parts.run_rows import method_title
from pages.parts.study.choice import study_of_discount

_accuracy = kept(figures.accuracy)
_MOST = 12  # pairs that the first line is over, as reading the answers of many takes long


def say_scores(alike: Alike) -> None:
    """Say whether the sink discount changes accuracy, where runs have their controls; and the accuracies of runs with
    the dense model's, chance and the items."""
    values = [value for _, value in alike.runs]
    levels, _, tasks = finding_of(
        "scored alike", values, alike.dense, alike.chance, alike.items, alike.tasks
    ).partition(" Tasks: ")
    pairs = _pairs([run for run, _ in alike.runs])
    said, told = _of_the_discount(pairs)
    st.markdown(f"##### {plain(said or levels)}")
    beneath = f"{told} {levels}" if said else "Tick runs to compare them on the same items."
    st.caption(plain(beneath), help=f"Newest evaluation of each run, the mean over {plain(tasks)}")
    models = {pair.spec.model.source for pair in pairs}
    if said and len(models) == 1:
        study_of_discount(models.pop(), len({pair.seed for pair in pairs}))


def _pairs(runs: Sequence[Run]) -> list[RunPair]:
    """Return runs with their controls, of whole settings only."""
    pairs: list[RunPair] = []
    for group in pairs_by_setting(runs):
        if len(pairs) + len(group) <= _MOST:
            pairs += group
    return pairs


def _of_the_discount(pairs: Sequence[RunPair]) -> tuple[str, str]:
    """Return what the sink discount does to accuracy at every setting that has a control, and on what that stands; ''
    where none has one."""
    if not pairs:
        return "", ""
    both = {run.id: run for pair in pairs for run in (pair.control, pair.run)}
    results = joined_results(list(both.values()), dense=True)
    if results is None or not results.accuracies:
        return "", ""
    places = {run_id: place for place, run_id in enumerate(both, 1)}  # after the dense model
    settings = {(places[pair.run.id], places[pair.control.id]): _setting(pair) for pair in pairs}
    return finding_of("change by setting", results, settings)


def _setting(pair: RunPair) -> str:
    removed = where(pair.spec)
    return ", ".join(filter(None, (removed and f"{removed} sparsity", detail(pair.spec))))


def accuracy_of_runs(alike: Alike) -> None:
    """Draw accuracy against sparsity, a curve per method over its calibration seeds; nothing below two sparsities."""
    curves, frame = by_sparsity(alike, method_title)
    if len({at for curve in curves for at in curve.x}) < 2:
        return
    chart(
        Exhibit(
            "Accuracy by sparsity, all scored runs",
            "One dot per method and sparsity, the mean of its runs; the band spans them. It holds no noise of the "
            "items.",
            _accuracy(curves, "sparsity", alike.dense, alike.chance),
            frame,
            formula="Right answers, the mean over tasks, in the newest evaluation of each run.",
            finding=finding_of("accuracy over sparsity", frame["sparsity"].to_numpy(), frame["accuracy"].to_numpy()),
        ),
        "runs_accuracy",
    )
