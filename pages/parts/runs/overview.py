"""The scored runs together: what they score, in a sentence and a figure, and the settings in which some differ.

Ticked runs show their accuracies, from an evaluation that they share or joined item by item, and their texts beside the
dense model's, for the same prompt.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine import JobRecord
from analysis.engine.run_pairs import RunPair, pairs_by_setting, scored_pairs, title_of
from analysis.engine.runs import Run
from analysis.evaluation import conditions
from analysis.evaluation.results import Results
from analysis.evaluation.sweep_scores import Comparison
from analysis.exhibits.inside import divergence_in_words, filled_in, text_of
from analysis.exhibits.scored_runs import (
    Alike,
    Costs,
    accuracy_of_runs,
    costs_of_runs,
    discount_comparisons,
    discount_gains,
    from_dense_of_runs,
    levels_of,
    paired_differences,
    runs_by_setting,
)
from analysis.figures import pruning as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.findings.masks import SAME
from analysis.pruned.report_file import read_report
from analysis.sinks.agreement import compare_texts
from analysis.specs import EVERYTHING, ModelSpec, RecordSpec
from analysis.statistics.differences import Difference
from analysis.words import counted, model_title, percent
from cache.keys import content_key
from pages.parts import asking, tokens
from pages.parts.accuracy.choice import choose_evaluation, evaluations, joined_results, pair_results, score_settings
from pages.parts.accuracy.panel import ALL_SEEDS, accuracy_panel, joined_panel
from pages.parts.address import linked_box, primary_link
from pages.parts.asking import acting_button, allow, duration, is_allowed, may_act
from pages.parts.charts import chart, exhibit_text, export_button, heading, table
from pages.parts.controls import pick
from pages.parts.plain import plain
from pages.parts.recordings.choice import opened
from pages.parts.recordings.recording import Recording, finished_recordings, recording_titles
from pages.parts.run_rows import by_sparsity, name_dense_models
from pages.parts.session import engine, model_in_use, model_name
from pages.parts.study.choice import can_tell, say_study

_MOST = 48  # runs whose answers are read for intervals, as reading those of many takes long


class Overview(NamedTuple):
    """What runs that were scored alike show. shown: their accuracies. compared: with against without the discount by
    sparsity. from_dense: each run minus the dense model, by its id."""

    costs: Costs
    shown: Exhibit | None
    compared: Mapping[str, Comparison]
    from_dense: Mapping[str, Difference]


def say_scores(alike: Alike | None, found: Overview | None = None) -> None:
    """Say in the first line of the page whether a method is better, and what the runs that were scored alike cost.
    found: of `overview`."""
    if alike is None or found is None:
        st.markdown(f"##### {plain(finding_of('scored alike', None, {}, {}, {})[0])}")
        return
    costs, compared = found.costs, found.compared
    said, which = finding_of("scored alike", alike.dense, *costs)
    brackets = "Brackets: of several methods, the reach of their intervals." if costs.losses else ""
    stands = f"Newest evaluation of each of {counted(len(alike.runs), 'run')}, {alike.items:,} items: {alike.tasks}."
    explained = " ".join(filter(None, (brackets, paired_differences(compared), stands)))
    st.markdown(f"##### {plain(said)}", help=plain(explained))
    tested = f"; tests are Holm-corrected over {len(costs.gaps)} comparisons" if len(costs.gaps) > 1 else ""
    tested = f"Brackets are 95\u00a0% intervals{tested}." if costs.gaps else ""
    if which or tested:
        st.markdown(plain(" ".join(filter(None, (which, tested)))))
    gained = {at: one.difference for at, one in compared.items()}
    if gained and not can_tell(gained):
        prunings = {at: one.setting.pruning for at, one in compared.items()}
        say_study(prunings, max(len(one.seeds) for one in compared.values()), f"{alike.items:,} items here.")
    elif not costs.losses:  # else the figure says over how many
        st.caption(f"{alike.items:,} items.")


def overview(alike: Alike, every: bool) -> Overview:
    """Draw the accuracy of each setting beside the dense model's, and return what the runs show. every: draw all
    methods, not only one with what it is compared with."""
    results = _answers(alike)
    runs = [(run.id, run.name, [scored.record.key for scored in run.evaluations]) for run, _ in alike.runs]
    found = _found(content_key(runs=runs, read=results is not None, every=every), alike, results, every)
    if found.shown is not None:
        chart(found.shown, "runs_accuracy")
    return found


@st.cache_resource(max_entries=8, show_spinner=False)
def _found(key: str, _alike: Alike, _results: Results | None, _every: bool) -> Overview:
    """key: of the runs and their evaluations."""
    levels = levels_of(_alike)
    who = "" if _every else levels.who
    costs = costs_of_runs(_alike, _results, who)
    return Overview(
        costs,
        accuracy_of_runs(_alike, _results, who, discount_gains(costs, levels)),
        discount_comparisons(_alike, levels, _results),
        from_dense_of_runs(_alike, _results),
    )


def _answers(alike: Alike) -> Results | None:
    """Return the answers behind the accuracies, if they can be read in short time."""
    runs = [run for _, group in runs_by_setting(alike) for run, _ in group]
    if not runs or len(runs) > _MOST:
        return None
    results = joined_results(runs, dense=True)
    return results if results is not None and results.accuracies else None


def compare_settings(runs: list[Run]) -> None:
    """Draw the settings that tell the runs apart, without results."""
    _settings(runs)
    _profiles(runs)
    export_button("SinkScope: runs", {"runs": [run.name for run in runs]}, ", ".join(run.name for run in runs))


def _settings(runs: list[Run]) -> None:
    known = [run for run in runs if run.folder is not None or run.kept]
    if len(known) < 2:
        st.caption("Tick two pruned models to see which settings differ.")
        return
    every = [
        {conditions.KEPT: run.kept or EVERYTHING}
        | ({} if run.folder is None else conditions.conditions(read_report(run.folder)))
        for run in known
    ]
    rows = conditions.differing_settings(every, [run.name for run in known])
    if rows:
        table(
            "Settings that differ",
            "A blank is a setting that the method does not read.",
            pd.DataFrame(name_dense_models(rows, {run.name: run for run in known})),
            "runs_settings",
        )
    else:
        st.caption("These runs have the same settings.")


def _profiles(runs: list[Run]) -> None:
    profiles = {}
    for run in runs:
        by_layer = run.sparsity.get("by_layer") or {}
        if by_layer:
            profiles[run.name] = np.array([by_layer[layer] for layer in sorted(by_layer, key=int)], np.float32)
    if not profiles:
        return
    if all(np.ptp(profile) <= SAME for profile in profiles.values()):
        shares = "; ".join(f"{name}, {percent(profile.mean(), 1)}" for name, profile in profiles.items())
        st.caption(f"Every layer of a run loses the same share of its weights: {plain(shares)}.")
        return
    rows = [
        {"run": name, "layer": layer, "sparsity": float(value)}
        for name, profile in profiles.items()
        for layer, value in enumerate(profile)
    ]
    chart(
        Exhibit(
            "Sparsity by layer",
            "The share of the weights of each layer that was removed.",
            figures.layer_profiles(profiles),
            pd.DataFrame(rows),
            formula="Zeros over all weights of the layer's prunable projections.",
            finding=finding_of("sparsity by layer", profiles),
        ),
        "runs_profiles",
    )


def scores_of_runs(chosen: list[Run], runs: list[Run], place: DeltaGenerator) -> None:
    """Draw the accuracy of the ticked runs, or the evaluation that the address names; scoring is in an expander. Where
    nothing is ticked: with against without the discount at the newest setting, over all its calibration seeds.

    runs: all runs. place: of the box of evaluations.
    """
    # The others are held against the first: the discount against what lacks it, whichever was ticked first.
    compared = sorted(by_sparsity(chosen), key=lambda run: run.kind != "dense")
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


_KEY = "texts_of"


def texts_of(chosen: list[Run]) -> None:
    """Draw the texts of the ticked runs of one model beside the dense model's. Texts not recorded yet are offered with
    their cost."""
    runs = [run for run in chosen if run.kind == "pruned" and run.runs]
    if not runs:
        st.info("Tick pruned models above to read what they write beside the dense model, prompt by prompt.")
        return
    source = runs[0].model
    others = [run.name for run in runs if run.model != source]
    if others:
        st.caption(f"Left out, as they come from another dense model: {plain(', '.join(others))}.")
        runs = [run for run in runs if run.model == source]
    dense = _dense(source)
    if dense is None:
        return
    found = _recorded(dense, runs)
    if found:
        _draw(dense, found)
        export_button("SinkScope: texts", dense.settings(), dense.info.prompt)


def _dense(source: str) -> Recording | None:
    """Draw the box of the dense model's recordings; return the chosen one."""
    jobs = {
        job.id: job
        for job in finished_recordings()
        if job.spec["model"]["source"] == source and not job.spec.get("branch")
    }
    if not jobs:
        st.info("The dense model has no recording yet. Record a prompt, and these runs write it too.")
        primary_link(
            "pages/explore.py", "**Record a prompt**", ":material/play_circle:", query_params={"source": source}
        )
        return None
    titles = recording_titles(list(jobs.values()))
    newest = next(iter(jobs))
    chosen = linked_box("Recording of the dense model", list(jobs), _KEY, titles.__getitem__, newest, required=True)
    return opened(jobs[chosen or newest])


def _request(dense: Recording, run: Run) -> RecordSpec:
    """Return the request for the same prompt, sampling and seed with a pruned copy."""
    asked = dense.request()
    # A folder's name does not say whether its model is tuned for a template; the recording knows.
    template = "on" if dense.info.chat_template else "off"
    model = asked.model.model_copy(update={"source": run.source})
    return asked.model_copy(update={"model": model, "chat_template": template})


def _recorded(dense: Recording, runs: list[Run]) -> list[tuple[Run, Recording]]:
    """Return the runs that are recorded. Offer the others, or show their progress once requested."""
    requests = [_request(dense, run) for run in runs]
    new = [
        run
        for run, request in zip(runs, requests, strict=True)
        if asking.begins("record", request, run.id) and not is_allowed(run.source)
    ]
    if new:
        acting_button(
            f"Record {len(new)} text{'s' if len(new) > 1 else ''}",
            "record_texts",
            type="primary",
            icon=":material/play_circle:",
            on_click=allow,
            args=tuple(run.source for run in new),
        )
        st.caption(f"Not recorded yet: {plain(', '.join(run.name for run in new))}. {_cost(dense.job, len(new))}")
    found = []
    for run, request in zip(runs, requests, strict=True):
        if run in new:
            continue
        job = asking.ask("record", request, f"Recording {run.name}", run.id)
        recording = opened(job) if job is not None else None
        if recording is not None:
            found.append((run, recording))
    return found


def _cost(job: JobRecord, count: int) -> str:
    """Estimate the time of recording `count` texts from the dense model's recording."""
    if job.started is None or job.finished is None or job.cached:
        return "Each takes about as long as recording the dense model."
    seconds = count * (job.finished - job.started) + engine().seconds_to_start()
    return f"About {duration(seconds)} on an idle machine, by the dense model's recording."


def _draw(dense: Recording, found: list[tuple[Run, Recording]]) -> None:
    names = {run.name: recording for run, recording in found}
    base, start = text_of(dense.trajectory), dense.info.prompt_length
    divergences = {name: compare_texts(base, text_of(recording.trajectory)) for name, recording in names.items()}
    labels = dense.trajectory.labels()
    first = next(iter(names))
    said = {
        name: divergence_in_words(apart, labels, names[name].trajectory.labels()) for name, apart in divergences.items()
    }
    heading("Texts", "Shaded tokens are not in the dense text, aligned.", None, said[first] if len(names) == 1 else "")
    st.caption(f"Prompt · {plain(dense.info.prompt)}")
    st.caption(f"Dense · {plain(model_title(model_name(dense.model.source)))}")
    tokens.show(tokens.changed_text(labels[start:], [True] * len(labels[start:])))
    exhibit_text("Text of the dense model", "", " ".join(labels[start:]), "text_dense")
    for name, recording in names.items():
        st.caption(f"{plain(name)}{f' · {plain(said[name])}' if len(names) > 1 else ''}")
        own = recording.trajectory.labels()
        tokens.show(tokens.changed_text(own[start:], divergences[name].finished.kept[1][start:].tolist()))
        exhibit_text(f"Text of {name}", said[name], " ".join(own[start:]), f"text_{names[name].job.id}")
    if len(names) > 1:
        first = pick("Step by step", names, "texts_step_by_step")
    length = divergences[first].filled.shape[1]
    differ = dense.trajectory.final[:length] != names[first].trajectory.final[:length]
    both = labels, names[first].trajectory.labels()
    filled = filled_in(divergences[first], both, differ, ("the dense model", first))
    chart(replace(filled, finding=""), "texts_filled")  # which stands above
