"""Starting prunings and scoring them, and what is known at a glance of those that are done."""

import streamlit as st

from analysis.engine.runs import Run, known_runs
from analysis.pruned.compare import MEASURES
from analysis.readings import reading
from analysis.specs import METHODS, ModelSpec, PruneSpec
from pages.parts import permission
from pages.parts.accuracy.canvas_scores import say_scores
from pages.parts.accuracy.choice import choose_evaluation, choose_runs, evaluations, score, score_settings
from pages.parts.accuracy.panel import accuracy_in_brief, accuracy_panel
from pages.parts.acting import acting_button, may_act
from pages.parts.masks import measures
from pages.parts.masks.choice import seeds_at_hand
from pages.parts.masks.pruned_models import known_pruned, open_pruned
from pages.parts.plain import plain
from pages.parts.pruning.plan import plan
from pages.parts.pruning.runs import newest_pair
from pages.parts.pruning.settings import Asked, with_and_without
from pages.parts.session import engine, submit
from pages.parts.trouble import EXPECTED, refusal_kept, say_refusal

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
        help="Scores the dense model and these prunings on the same items once they are done, as set under Score.",
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


def accuracies_in_brief(model: ModelSpec, drawn: bool) -> None:
    """Draws the fold in which pruned copies are scored, and the accuracies of the evaluation that is shown.

    drawn: whether these are to be drawn here, and not in full.
    """
    runs = _copies(model)
    if runs and engine().authorizer.may("run"):
        with st.expander("Score", icon=":material/monitoring:", key="fold_prune_score"):
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


def masks_in_a_sentence(specs: list[PruneSpec], drawn: bool) -> None:
    """Says how far two masks differ, with and without the discount where there are such. specs: what is asked for.
    drawn: whether it is said here, and not in full."""
    pair = newest_pair(specs) if drawn else []
    if len(pair) < 2:
        return
    known = known_pruned()
    first, second = (open_pruned(run.id, known) for run in pair)
    if first is None or second is None:
        return
    try:
        comparison = measures.compared(first, second)
    except EXPECTED:
        return  # said under Masks
    total, measure = comparison.total(), next(iter(MEASURES.values()))
    value, chance = float(measure.compute(total)), float(measure.independent(total))
    floor = seeds_at_hand(first, second, known)
    seeds = None if floor is None else float(measure.compute(floor.total()))
    said = reading("whole against seeds", measure.title, value, seeds, chance, "all projections")
    if said:
        st.caption(f"{plain(first.label)} and {plain(second.label)}: {plain(said)}")
