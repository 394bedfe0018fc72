"""Starting prunings and scoring them, and what is known at a glance of those that are done."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import streamlit as st

from analysis.engine.run_pairs import RunPair, setting_title
from analysis.engine.runs import Run, known_runs, score
from analysis.evaluation import comparing
from analysis.evaluation.results import Results
from analysis.evaluation.tables import ROLES
from analysis.findings import finding_of
from analysis.findings.evaluations import tested, together
from analysis.pruned.compare import MEASURES, Comparison, pooled
from analysis.specs import METHODS, ModelSpec, PruneSpec
from analysis.words import counted
from pages.parts import address, permission
from pages.parts.accuracy.canvas_scores import say_scores
from pages.parts.accuracy.choice import choose_evaluation, choose_runs, evaluations, score_settings
from pages.parts.accuracy.choice import score as ask_scores
from pages.parts.accuracy.opening import joined_results
from pages.parts.accuracy.panel import accuracy_in_brief, accuracy_panel, joined_panel
from pages.parts.accuracy.results import in_brief
from pages.parts.acting import acting_button, may_act
from pages.parts.masks import measures
from pages.parts.masks.choice import seeds_at_hand
from pages.parts.masks.pruned_models import Pruned, known_pruned, open_pruned
from pages.parts.plain import plain
from pages.parts.pruning.plan import plan
from pages.parts.pruning.settings import Asked, with_and_without
from pages.parts.session import engine, submit
from pages.parts.study.choice import study_of_discount
from pages.parts.user_errors import EXPECTED, refusal_kept, say_refusal

_PLACE, _BATCH, _SCORE = "prune", "prune_batch", "prune_then_score"
ALL_SEEDS = "all calibration seeds, with against without the discount"
UNBROKEN = "\u00a0"  # a space at which no line ends


def start(asked: Asked) -> None:
    """Draws what the prunings will take, and the button that starts them."""
    specs, problem = asked.specs, asked.problem
    takes, buttons = st.container(), st.container(horizontal=True)
    if not may_act(buttons):
        return
    methods = [spec.method for spec in specs]
    acting_button(
        plain(_label(methods)),
        "prune",
        buttons,
        type="primary",
        icon=":material/content_cut:",
        disabled=bool(problem),
        help=plain(problem) or "Runs one after the other. " + " · ".join(METHODS[name].title for name in methods),
        on_click=_launch,
        args=(specs,),
    )
    with takes:
        if problem:
            st.error(plain(problem))
        else:
            plan(specs, buttons)
    st.toggle(
        "Then score them",
        value=True,
        key=_SCORE,
        persist_state="session",
        help="Scores the dense model and these prunings on the same items once they are done, as set below.",
    )
    say_refusal(_PLACE)


def _label(methods: list[str]) -> str:
    if set(methods) == set(with_and_without()):
        return "Prune with and without the discount"
    if len(methods) > 1:
        return f"Prune with {len(methods)} methods"
    return f"Prune with {METHODS[methods[0]].title}" if methods else "Prune"


def _launch(specs: list[PruneSpec]) -> None:
    """A callback, so that no rerun that something else on the page asks for can lose the click."""
    with refusal_kept(_PLACE):
        asked = []
        for spec in specs:
            permission.allow(spec.model.source)
            asked.append(submit("prune", spec).id)
        st.session_state[_BATCH] = asked


def accuracies_in_brief(model: ModelSpec, pairs: list[RunPair], results: Results | None, drawn: bool) -> None:
    """Draw the fold in which pruned copies are scored, and the accuracy with and without the discount.

    The evaluation is the one in the address or at work; else those of runs and their controls; else the newest. pairs:
    of `matched_pairs`. results: of `pair_results`. drawn: whether an evaluation is to be drawn here, and not in full.
    """
    runs, settings = _copies(model), None
    if runs and engine().authorizer.may("run"):
        with st.expander("What is scored", icon=":material/monitoring:", key="fold_prune_score"):
            chosen = choose_runs(runs)
            settings = score_settings(model, runs, chosen, narrow=True)
        _score_batch(settings, runs)
    elif not runs:
        st.caption("No pruned copy of this model yet. Prune one to see its accuracy here, task by task.")
        say_scores(model)
    of_model = (record for record in evaluations() if record.spec.get("model", {}).get("source") == model.source)
    newest = next(of_model, None)
    named = address.named("evaluation")
    if not named and (newest is None or newest.ended) and pairs:
        if results is not None:
            in_brief(results, said=True)
        else:
            _offer_scores(settings, runs, pairs)
        return
    if not drawn:
        return
    shown = choose_evaluation(newest, instead="" if newest is not None else "nothing", boxed=False)
    if shown is not None:
        accuracy_in_brief(shown)
    elif runs:
        st.caption("Not scored yet.")


def accuracies_in_full(asked: Asked, pairs: list[RunPair], results: Results | None, place: Any) -> None:
    """Draw accuracy with against without the discount over all calibration seeds, else the newest evaluation, or the
    one that is at work or in the address. place: of the box of evaluations. Others: as of `accuracies_in_brief`."""
    newest = next(iter(evaluations()), None)
    joined = results is not None and bool(results.accuracies) and (newest is None or newest.ended)
    shown = choose_evaluation(instead=ALL_SEEDS if joined else "", place=place)
    if shown is not None:
        accuracy_panel(shown)
    elif joined and results is not None:
        joined_panel(results, [run.name for pair in pairs for run in (pair.run, pair.control)])
    else:
        st.info("Accuracy item by item, with against without the discount, once pruned models are scored.")
        if asked.specs:
            acting_button(
                plain(_label([spec.method for spec in asked.specs])),
                "prune_here",
                on_click=_launch,
                args=(asked.specs,),
            )
            say_scores(asked.specs[0].model)


def _offer_scores(settings: Mapping[str, object] | None, runs: dict[str, Run], pairs: list[RunPair]) -> None:
    """Say that runs or their controls are not scored, and draw the button that scores both."""
    if scored_pairs(pairs):  # their answers are gone, which is said
        return
    st.caption("With and without the discount are not scored on the same items yet.")
    both = [run.id for pair in pairs for run in (pair.control, pair.run)]
    ids = [run_id for run_id in both if run_id in runs]
    if settings is not None and len(ids) == len(both):
        acting_button(
            "Score both",
            "prune_score_both",
            icon=":material/monitoring:",
            on_click=ask_scores,
            args=(settings, runs, ids),
        )


def _copies(model: ModelSpec) -> dict[str, Run]:
    """The pruned copies of a model that can be run, by id, newest first."""
    pruned = [run for run in known_runs(engine()) if run.kind == "pruned" and run.model == model.source]
    return {run.id: run for run in pruned if run.runs}


def _score_batch(settings: dict[str, object] | None, runs: dict[str, Run]) -> None:
    """Asks for the accuracy of what was pruned together, once all of it is done."""
    batch = st.session_state.get(_BATCH)
    if not batch or settings is None:
        return
    records = [engine().job(job_id) for job_id in batch]
    if any(record is not None and not record.ended for record in records):
        return
    del st.session_state[_BATCH]
    # What the store knew already is a run under the id of the job that made it.
    done = [record for record in records if record is not None and record.state == "done"]
    sources = {str(result.folder) for record in done if (result := engine().result(record)) is not None}
    ids = [run_id for run_id, run in runs.items() if run.source in sources]
    if ids and len(done) == len(batch) and st.session_state.get(_SCORE, True):
        ask_scores(settings, runs, ids)
        st.rerun()


class PairMasks(NamedTuple):
    """The masks of controls and of runs with a discount, over calibration seeds; those of two calibration seeds, where
    the store has them. first, second: of the first pair."""

    first: Pruned
    second: Pruned
    comparison: Comparison
    floor: Comparison | None


def pair_masks(pairs: list[RunPair]) -> PairMasks | None:
    """Compare the masks of pairs; None where there is none, or they cannot be read. pairs: of `matched_pairs`."""
    known, opened = known_pruned(), []
    for pair in pairs:
        first, second = (open_pruned(run.id, known) for run in (pair.control, pair.run))
        if first is None or second is None:
            return None
        opened.append((first, second))
    if not opened:
        return None
    try:
        comparison = pooled([measures.compared(first, second) for first, second in opened])
        return PairMasks(*opened[0], comparison, seeds_at_hand(*opened[0], known))
    except EXPECTED:
        return None  # said under Masks


def scored_pairs(pairs: list[RunPair]) -> list[RunPair]:
    """Return the pairs of which both runs answered as many items of the same tasks as the first such pair."""
    asked = {}
    for place, pair in enumerate(pairs):
        scores = [score(run) for run in (pair.control, pair.run)]
        if all(scores):
            asked[place] = {(one.tasks, one.items) for one in scores if one is not None}
    return [pairs[place] for place, alike in asked.items() if alike == next(iter(asked.values()))]


def pair_results(pairs: list[RunPair]) -> Results | None:
    """Return what pairs answered beside their dense model, joined by item; None where none is scored. pairs: of
    `scored_pairs`."""
    if not pairs:
        return None
    names = [f"{role}, seed {pair.seed}" for pair in pairs for role in ROLES]
    return joined_results([run for pair in pairs for run in (pair.control, pair.run)], dense=True, names=names)


def answer(pairs: list[RunPair], masks: PairMasks | None, results: Results | None) -> None:
    """Say how far the masks of runs and of their controls differ, beside two calibration seeds, and beneath it what
    accuracy does. pairs: of `matched_pairs`. masks: of `pair_masks`. results: of `pair_results`.
    """
    if masks is None:
        st.markdown(
            "Prune with and without the sink discount: see which weights change, then what that does to accuracy."
        )
        return
    total, measure = masks.comparison.total(), next(iter(MEASURES.values()))
    value, chance = float(measure.compute(total)), float(measure.independent(total))
    seeds = None if masks.floor is None else float(measure.compute(masks.floor.total()))
    spec = pairs[0].spec
    said = finding_of("discounted mask", value, seeds, chance, setting_title(pairs[0], method=False))
    st.markdown(f"##### {plain(said.replace(' %', UNBROKEN + '%'))}")
    accuracy, told = "Accuracy: not measured on the same items yet. Score both under step 3.", ""
    names = " · ".join(f"{pair.run.name} against {pair.control.name}" for pair in pairs)
    explained = f"The control reads the same noised text without the discount. {names}."
    if results is not None and results.accuracies:
        related = comparing.related_pairs(results)["control"]
        accuracy, told = finding_of("change of accuracy", results, related)
        explained += f" {tested(together(results, related))}"
    beneath = st.container(horizontal=True, vertical_alignment="center", gap="small", key="prune_accuracy_in_a_line")
    what = " ".join(filter(None, (told, _seeds_in_words(pairs, results), explained)))
    beneath.markdown(plain(accuracy), help=plain(f"{pairs[0].run.model}. {what}"), width="content")
    study_of_discount(spec.model.source, len(pairs), beneath)


def _seeds_in_words(pairs: Sequence[RunPair], results: Results | None) -> str:
    """Return the calibration seeds of pairs, and how many of them are scored; '' where all are, which is told with the
    accuracy."""
    scored = 0 if results is None else len(comparing.related_pairs(results)["control"])
    if not METHODS[pairs[0].spec.method].calibrated or 1 < scored == len(pairs):
        return ""
    whole = f"Pruned with {counted(len(pairs), 'calibration seed')}"
    return f"{whole}, {scored} scored." if 0 < scored < len(pairs) else f"{whole}."
