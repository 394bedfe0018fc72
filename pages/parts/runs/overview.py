"""The scored runs together, before a run is ticked: differences that the discount makes, and accuracy by sparsity."""

from collections.abc import Mapping
from typing import NamedTuple

import streamlit as st

from analysis.engine.run_pairs import RunPair, pairs_by_setting, setting_title
from analysis.evaluation import comparing, tables
from analysis.evaluation.comparing import Pair
from analysis.evaluation.results import Results
from analysis.exhibits.over_seeds import differences_over_seeds
from analysis.exhibits.scored_runs import Alike, by_sparsity
from analysis.figures import sweep as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.specs import PruneSpec, detail
from pages.parts.accuracy.levels import levels
from pages.parts.accuracy.opening import joined_results
from pages.parts.charts import chart, kept
from pages.parts.expander import fold
from pages.parts.plain import plain
from pages.parts.run_rows import method_title
from pages.parts.side import figures_beside
from pages.parts.study.choice import can_tell, say_discount
from pages.parts.sweeping import offer_more_seeds, sweep_of_pairs

_accuracy = kept(figures.accuracy)
_MOST = 24  # pairs that the first line is over, as reading the answers of many takes long


class Paired(NamedTuple):
    """Runs with a discount and their controls, joined by item. settings: what each pair of models is called."""

    pairs: list[RunPair]
    results: Results
    settings: Mapping[Pair, str]

    @property
    def prunings(self) -> dict[str, PruneSpec]:
        """Of the runs with a discount, by setting."""
        return dict(zip(self.settings.values(), (pair.spec for pair in self.pairs), strict=True))


def paired(alike: Alike) -> Paired | None:
    """Join the answers of runs and their controls, at whole settings from the least sparsity on; None where there are
    none."""
    pairs: list[RunPair] = []
    for group in pairs_by_setting([run for run, _ in alike.runs]):
        if len(pairs) + len(group) <= _MOST:
            pairs += group
    if not pairs:
        return None
    pairs.sort(key=lambda pair: (pair.spec.sparsity, pair.spec.method, detail(pair.spec), pair.seed))
    both = {run.id: run for pair in pairs for run in (pair.control, pair.run)}
    results = joined_results(list(both.values()), dense=True)
    if results is None or not results.accuracies:
        return None
    places = {run_id: place for place, run_id in enumerate(both, 1)}  # after the dense model
    several = len({pair.spec.method for pair in pairs}) > 1
    settings = {(places[pair.run.id], places[pair.control.id]): setting_title(pair, method=several) for pair in pairs}
    return Paired(pairs, results, settings)


def say_scores(alike: Alike, against: Paired | None) -> None:
    """Say what the sink discount does to accuracy, where runs have their controls, and offer more seeds where they
    cannot tell; and the accuracies of runs with the dense model's, chance and the items. against: of `paired`."""
    values = [value for _, value in alike.runs]
    levels_said, _, tasks = finding_of(
        "scored alike", values, alike.dense, alike.chance, alike.items, alike.tasks
    ).partition(" Tasks: ")
    newest = f"Newest evaluation of each run, the mean over {plain(tasks)}"
    if against is None:
        st.markdown(f"##### {plain(levels_said)}")
        st.caption("Tick runs to compare them on the same items.", help=newest)
        return
    found = comparing.at_settings(against.results, against.settings)
    say_discount(found, against.prunings, explained=f"{levels_said} {newest}")
    sweep = None if can_tell(found) else sweep_of_pairs(against.pairs)
    if sweep is not None:
        offer_more_seeds(sweep, "runs_more_seeds")


def overview(alike: Alike, against: Paired | None) -> None:
    """Draw the difference that the discount makes at each setting with the accuracies it is of, where runs have their
    controls; and accuracy by sparsity, in a fold where that is not all there is."""
    if against is None:
        _by_sparsity(alike)
        return
    left, right = figures_beside(2, "runs_overview")
    with left:
        chart(differences_over_seeds(against.results, against.settings), "runs_differences")
    with right:
        levels(tables.level_table(against.results, against.settings), "runs_levels")
        place, drawn = fold("Accuracy by sparsity, all scored runs", "fold_runs_accuracy", ())
        if drawn:
            with place:
                _by_sparsity(alike)


def _by_sparsity(alike: Alike) -> None:
    """Draw a curve per method over its calibration seeds; nothing below two sparsities."""
    curves, frame = by_sparsity(alike, method_title)
    if len({at for curve in curves for at in curve.x}) < 2:
        st.caption("All scored runs have one sparsity. Their accuracies stand in the table.")
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
