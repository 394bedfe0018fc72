"""Starting prunings and scoring them, and what is known at a glance of those that are done."""

from collections.abc import Mapping
from typing import NamedTuple

import streamlit as st

from analysis.engine.runs import Run, known_runs
from analysis.evaluation.results import Results
from analysis.findings import finding_of
from analysis.findings.evaluations import headline
from analysis.pruned.compare import MEASURES, Comparison
from analysis.specs import METHODS, ModelSpec, PruneSpec
from pages.parts import address, permission
from pages.parts.accuracy.canvas_scores import say_scores
from pages.parts.accuracy.choice import choose_evaluation, choose_runs, evaluations, score, score_settings
from pages.parts.accuracy.opening import joined_results
from pages.parts.accuracy.panel import accuracy_in_brief, accuracy_panel
from pages.parts.accuracy.results import in_brief
from pages.parts.acting import acting_button, may_act
from pages.parts.masks import measures
from pages.parts.masks.choice import seeds_at_hand
from pages.parts.masks.pruned_models import Pruned, known_pruned, open_pruned
from pages.parts.plain import plain
from pages.parts.pruning.plan import plan
from pages.parts.pruning.settings import Asked, with_and_without
from pages.parts.session import engine, submit
from pages.parts.user_errors import EXPECTED, refusal_kept, say_refusal

_PLACE, _BATCH, _SCORE = "prune", "prune_batch", "prune_then_score"


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


def accuracies_in_brief(model: ModelSpec, pair: list[Run], results: Results | None, drawn: bool) -> None:
    """Draw the fold in which pruned copies are scored, and the accuracy with and without the discount.

    The evaluation is the one in the address or at work; else those of a run and its control; else the newest. pair: of
    `matched_pair`. results: of `pair_results`. drawn: whether accuracies are to be drawn here, and not in full.
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
    if not drawn:
        return
    of_model = (record for record in evaluations() if record.spec.get("model", {}).get("source") == model.source)
    newest = next(of_model, None)
    named = address.named("evaluation")
    if not named and (newest is None or newest.ended) and pair:
        if all(run.evaluations for run in pair):
            if results is not None:
                in_brief(results, said=True)
        else:
            _offer_scores(settings, runs, pair)
        return
    shown = choose_evaluation(newest, none=newest is None, boxed=False)
    if shown is not None:
        accuracy_in_brief(shown)
    elif runs:
        st.caption("Not scored yet.")


def accuracies_in_full(model: ModelSpec) -> None:
    """Draws the evaluation that is shown with all that is known of it, and the others to choose from."""
    shown = choose_evaluation()
    if shown is None:
        st.info("No accuracies yet. Prune and score to see them here, item by item, with intervals.")
        say_scores(model)
        return
    accuracy_panel(shown)


def _offer_scores(settings: Mapping[str, object] | None, runs: dict[str, Run], pair: list[Run]) -> None:
    """Say that a run or its control is not scored, and draw the button that scores both."""
    st.caption("With and without the discount are not scored on the same items yet.")
    ids = [run.id for run in pair if run.id in runs]
    if settings is not None and len(ids) == len(pair):
        acting_button(
            "Score both", "prune_score_both", icon=":material/monitoring:", on_click=score, args=(settings, runs, ids)
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
        score(settings, runs, ids)
        st.rerun()


class PairMasks(NamedTuple):
    """The masks of a control and of a run with a discount; those of two calibration seeds, where the store has them."""

    first: Pruned
    second: Pruned
    comparison: Comparison
    floor: Comparison | None


def pair_masks(pair: list[Run]) -> PairMasks | None:
    """Compare the masks of a pair; None where there is none, or they cannot be read. pair: of `matched_pair`."""
    if not pair:
        return None
    known = known_pruned()
    first, second = (open_pruned(run.id, known) for run in pair)
    if first is None or second is None:
        return None
    try:
        return PairMasks(first, second, measures.compared(first, second), seeds_at_hand(first, second, known))
    except EXPECTED:
        return None  # said under Masks


def pair_results(pair: list[Run]) -> Results | None:
    """Return what a pair answered beside its dense model, joined by item; None while one of the two is not scored."""
    return joined_results(pair, dense=True) if pair and all(run.evaluations for run in pair) else None


def answer(masks: PairMasks | None, results: Results | None) -> None:
    """Say how far the masks of a run and of its control differ, beside two calibration seeds, and what accuracy does;
    which runs, in small. masks: of `pair_masks`. results: of `pair_results`.
    """
    if masks is None:
        st.markdown(
            "Prune with and without the sink discount: see which weights change, then what that does to accuracy."
        )
        return
    total, measure = masks.comparison.total(), next(iter(MEASURES.values()))
    value, chance = float(measure.compute(total)), float(measure.independent(total))
    seeds = None if masks.floor is None else float(measure.compute(masks.floor.total()))
    accuracy, items = "Accuracy is not measured on the same items yet: score both under step 3.", ""
    if results is not None and results.accuracies:
        accuracy, items = headline(results, (2, 1))  # after the dense model and the control
    st.markdown(f"##### {plain(finding_of('discounted mask', value, seeds, chance))} {plain(accuracy)}")
    first, second = masks.first.label, masks.second.label
    st.caption(plain(f"{second}, compared with its control {first}: same noised text, no discount. {items}"))
