"""Starting prunings and scoring them, and results of finished ones at a glance."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine.run_pairs import RunPair, has_setting, scored_pairs, sweep_of, title_of
from analysis.engine.runs import Run, known_runs
from analysis.evaluation import comparing
from analysis.evaluation.results import AVERAGE, Results, average, chance_level, once
from analysis.exhibits.with_discount import (
    Changed,
    Shift,
    accuracy_shifts,
    against_published,
    changes_of_study,
    compared_in,
    published_of_study,
    recipe_told,
    shifts_of_runs,
    shifts_of_study,
    shown_shifts,
    tasks_of,
    text_of,
    text_read,
)
from analysis.figures.style import REFERENCE
from analysis.findings import finding_of
from analysis.findings.evaluations import MARGIN, tested, together
from analysis.findings.pruning_cost import no_help
from analysis.specs import METHODS, EvaluateSpec, ModelSpec, PruneSpec, SweepSpec, grid, setting_key
from analysis.statistics.decisions import POINTS
from analysis.study.rules import margin_of
from analysis.words import counted, listed, percent
from pages.parts import address
from pages.parts.accuracy import choice as scoring
from pages.parts.accuracy.choice import (
    choose_evaluation,
    choose_runs,
    evaluations,
    pair_results,
    say_scores,
    score_settings,
)
from pages.parts.accuracy.panel import ALL_SEEDS, accuracy_in_brief, accuracy_panel, joined_panel
from pages.parts.asking import begin, cut_short, may_act, starting_button
from pages.parts.charts import chart, kept
from pages.parts.plain import plain
from pages.parts.pruning.runs import (
    cost_in_words,
    launch,
    matched_pairs,
    pairs_at_other_sparsities,
    plan,
    sweeps_at_work,
)
from pages.parts.pruning.settings import Asked, note_start
from pages.parts.session import EXPECTED, REDRAW, engine, why
from pages.parts.study.choice import OfStudy

_SCORE = "prune_then_score"
_KEPT = 16  # prunings of studies


class Wanted(NamedTuple):
    """Work of the button: prunings at calibration seeds, and the sweep that also scores them; None where they are
    not scored. problem: why it cannot run, or ''. idle: it could, and would change nothing."""

    prunings: list[PruneSpec]
    sweep: SweepSpec | None
    problem: str
    idle: bool = False

    @property
    def label(self) -> str:
        """The words on the button."""
        methods = list(dict.fromkeys(spec.method for spec in self.prunings))
        if any(set(methods) == {name, METHODS[name].control} for name in methods):
            return "Prune with and without the discount"
        if len(methods) > 1:
            return f"Prune with {len(methods)} methods"
        return f"Prune with {METHODS[methods[0]].title}" if methods else "Prune"


class Found(NamedTuple):
    """Effect of pruning and the discount on accuracy in a study or in the runs here: source of headline and figure.

    setting: of the first shift, in words. dense, chance: accuracies. tasks: that were scored, by their titles. method:
    with the discount. recipe: of `recipe_told`. compared, explained: all that is compared,
    and further what a researcher asks, in sentences. published: of `against_published`.
    """

    setting: str
    shifts: tuple[Shift, ...]
    dense: float
    chance: float | None
    tasks: tuple[str, ...]
    method: str
    margin: float
    recipe: str
    compared: str
    explained: str = ""
    published: str = ""

    @property
    def accuracies(self) -> str:
        """The accuracies of the dense model and by chance."""
        chance = "" if self.chance is None else f", chance {percent(self.chance, 1)}"
        return f"unpruned {percent(self.dense, 1)}{chance}"


def wanted(asked: Asked, evaluation: EvaluateSpec | None) -> Wanted:
    """Return what the button runs. evaluation: how pruned models are scored; None where that is not known."""
    prunings: dict[str, PruneSpec] = {}
    for seed in range(asked.calibration.seed, asked.calibration.seed + asked.seeds):
        for spec in asked.specs:
            if spec.calibrated:
                spec = spec.model_copy(update={"calibration": spec.calibration.model_copy(update={"seed": seed})})
            prunings.setdefault(spec.model_dump_json(), spec)
    asks = list(prunings.values())
    if asked.problem or not st.session_state.get(_SCORE, True) or not asks:
        return Wanted(asks, None, asked.problem, idle=bool(asked.problem and asks))
    if evaluation is None:
        return Wanted(asks, None, "Scoring is not set, as said there.")
    try:
        numbers = sorted({spec.calibration.seed for spec in asks if spec.calibrated}) or [0]
        return Wanted(asks, sweep_of(asks, evaluation, numbers, keep="checkpoints"), "")
    except EXPECTED as error:
        return Wanted(asks, None, why(error))


def start(wants: Wanted, takes: Any) -> None:
    """Draw what the prunings will take, and the button that starts them. takes: the place of what they take."""
    buttons = st.container(horizontal=True, vertical_alignment="center", gap="small")
    if not may_act(buttons):
        return
    _start_button(wants, "prune", buttons)
    with takes:
        if wants.problem:
            (st.caption if wants.idle else st.error)(plain(wants.problem))
        elif wants.sweep is not None:
            st.caption(plain(_cost(wants.sweep)))


def _start_button(wants: Wanted, key: str, place: Any = st) -> None:
    starting_button(
        plain(wants.label),
        key,
        _launch,
        place,
        type="primary",
        icon=":material/content_cut:",
        disabled=bool(wants.problem),
        help=plain(wants.problem) or "Cancel it at any time; what is finished stays.",
        args=(wants,),
    )


def _cost(sweep: SweepSpec) -> str:
    try:
        return cost_in_words(sweep)
    except EXPECTED as error:
        return why(error)


def _launch(wants: Wanted) -> None:
    """Start the prunings."""
    note_start(wants.prunings)
    if wants.sweep is not None:
        launch(wants.sweep)
        return
    for spec in wants.prunings:
        begin("prune", spec)


def choose_scores(model: ModelSpec, asked: Asked) -> tuple[EvaluateSpec | None, Mapping[str, object] | None]:
    """Draw the fold in which it is set how pruned copies are scored, in which those that are there can be, and in which
    time and memory are estimated. Return how they are scored, for a sweep, and as `score_settings` does; None where
    that is not set.
    """
    if not engine().authorizer.may("run"):
        return None, None
    runs = _copies(model)
    with st.expander("Scoring and estimate", key="fold_prune_score"):
        st.toggle(
            "Score after pruning",
            value=True,
            key=_SCORE,
            persist_state="session",
            help="Scores the dense model and each pruned one on the same items.",
        )
        chosen = choose_runs(runs) if runs else []
        settings = score_settings(model, runs, chosen, narrow=True, seeds=asked.seeds)
        if asked.specs and not asked.problem:
            plan(asked.specs, st.container())
    return (None if settings is None else EvaluateSpec(**settings)), settings


def accuracies_in_brief(
    model: ModelSpec,
    asked: Asked,
    settings: Mapping[str, object] | None,
    pairs: list[RunPair],
    found: Found | None,
    study: OfStudy | None,
    drawn: bool,
) -> None:
    """Draw what pruning and the discount do to accuracy, or how that comes in.

    The evaluation is the one in the address or at work; else those of runs and their controls; else the newest.
    settings: of `choose_scores`. pairs: of `matched_pairs`. found: of `found_in_study` or `found_in_runs`. study: what
    is shown instead of runs. drawn: whether an evaluation is to be drawn here, and not in full.
    """
    if study is None and sweeps_at_work():
        st.fragment(_scores_so_far, run_every=REDRAW)(asked.specs)
        return
    if study is not None:
        if found is not None:
            _draw(found)
        return
    runs = _copies(model)
    if not runs and not pairs:
        st.caption("No pruned copy of this model yet. Prune one to see its accuracy here, task by task.")
        say_scores(model)
    of_model = (record for record in evaluations() if record.spec.get("model", {}).get("source") == model.source)
    newest = next(of_model, None)
    named = address.named("evaluation")
    if not named and (newest is None or newest.ended) and pairs:
        if found is not None:
            _draw(found)
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


def _scores_so_far(specs: list[PruneSpec]) -> None:
    """Draw what the seeds show that are scored with and without the discount."""
    found = found_in_runs(_asked_pairs(specs))
    if found is None:
        st.caption("Accuracies come in as soon as one seed is pruned and scored with and without the discount.")
        return
    _draw(found)


def answer_so_far(specs: list[PruneSpec], changes: Sequence[Changed]) -> None:
    """Say the same in the first line, again and again. changes: as of `answer`."""

    def say() -> None:
        pairs = _asked_pairs(specs)
        answer(None, pairs, found_in_runs(pairs), changes)

    st.fragment(say, run_every=REDRAW)()


def _asked_pairs(specs: list[PruneSpec]) -> list[RunPair]:
    return [pair for pair in matched_pairs(specs) if has_setting(pair, specs)]


_accuracy_shifts = kept(accuracy_shifts)


def _draw(found: Found) -> None:
    compared = f"{found.compared} {found.explained}"
    exhibit = _accuracy_shifts(found.shifts, found.dense, found.chance, found.method, found.margin, compared)
    chart(exhibit, "prune_accuracy")


def say_cut_short(asked: Asked) -> None:
    """Say that the newest sweep ended before it was done, where it has the asked prunings, and offer to go on."""
    newest = next(iter(engine().jobs("sweep")), None)
    if newest is None or not newest.ended or newest.state == "done" or not asked.specs:
        return
    try:
        swept = {setting_key(point) for point in grid(newest.parameters(SweepSpec)).prunings}
    except EXPECTED:  # parameters that changed since
        return
    if {setting_key(spec) for spec in asked.specs} <= swept:
        cut_short(newest, "sweep", "points")


def accuracies_in_full(
    wants: Wanted, model: ModelSpec, pairs: list[RunPair], results: Results | None, place: Any
) -> None:
    """Draw accuracy with against without the discount over all calibration seeds, else the newest evaluation, or the
    one that is at work or in the address. place: of the box of evaluations. Others: as of `accuracies_in_brief`."""
    newest = next(iter(evaluations()), None)
    joined = (
        results is not None and bool(results.accuracies) and (newest is None or newest.ended or bool(sweeps_at_work()))
    )
    shown = choose_evaluation(instead=ALL_SEEDS if joined else "", place=place)
    if shown is not None:
        accuracy_panel(shown)
    elif joined and results is not None:
        joined_panel(results, [run.name for pair in pairs for run in (pair.run, pair.control)])
    else:
        st.info("Accuracy item by item, with against without the discount, once pruned models are scored.")
        if wants.prunings:
            _start_button(wants, "prune_here")
            say_scores(model)


def _offer_scores(settings: Mapping[str, object] | None, runs: dict[str, Run], pairs: list[RunPair]) -> None:
    """Say that runs or their controls are not scored, and draw the button that scores both."""
    if scored_pairs(pairs):  # their answers are gone, as a message says
        return
    st.caption("With and without the discount are not scored on the same items yet.")
    both = [run.id for pair in pairs for run in (pair.control, pair.run)]
    ids = [run_id for run_id in both if run_id in runs]
    if settings is not None and len(ids) == len(both):
        starting_button(
            "Score both", "prune_score_both", scoring.score, icon=":material/monitoring:", args=(settings, runs, ids)
        )


def _copies(model: ModelSpec) -> dict[str, Run]:
    """Return the pruned copies of a model that can be run, by id, newest first."""
    pruned = [run for run in known_runs(engine()) if run.kind == "pruned" and run.model == model.source]
    return {run.id: run for run in pruned if run.runs}


@lru_cache(_KEPT)
def changes_in_study(study: OfStudy) -> tuple[Changed, ...]:
    """Return which share of the weights the discount changes in a study, at the settings first."""
    return tuple(changes_of_study(study.findings, study.contrast))


@lru_cache(_KEPT)
def found_in_study(study: OfStudy) -> Found | None:
    """Return what a study has found; None where it does not hold what pruning costs."""
    findings, contrast = study.findings, study.contrast
    shifts = shifts_of_study(findings, contrast)
    if findings.pruning is None or not shifts:
        return None
    setting, margin = f"{shifts[0].sparsity} sparsity", margin_of(findings)
    levels = findings.pruning.dense, findings.pruning.chance
    method, shown = contrast.method, shown_shifts(shifts)
    told, small = [one.sparsity for one in shown], no_help([one.discount for one in shown], margin)
    recipes = published_of_study(findings, method)
    published = {at: one for at, one in recipes.items() if percent(at, 0) in told}
    return Found(
        setting,
        tuple(shifts),
        *levels,
        tuple(tasks_of(findings.pruning)),
        method,
        margin,
        recipe_told(method, text_read(method), f"λ = {max(findings.parameters.strengths):g}"),
        compared_in(findings, contrast),
        published=against_published(method, published, margin if small else 0.0),
    )


def found_in_runs(pairs: list[RunPair]) -> Found | None:
    """Return what the runs here show, at the sparsity of these pairs and at those that were scored on the same items;
    None where none is scored. pairs: of `matched_pairs`."""
    scored = scored_pairs(pairs)
    results = pair_results(scored_pairs([*scored, *pairs_at_other_sparsities(scored)]))
    if results is None:
        return None
    names = [f"{pair.run.name} against {pair.control.name}" for pair in scored]
    return _found_in_results(results, pairs[0].spec, names)


@once
def _found_in_results(results: Results, spec: PruneSpec, names: Sequence[str]) -> Found | None:
    """Return the same of what pairs answered. spec: of the first one's run. names: of the pairs."""
    related = comparing.related_pairs(results)["control"] if results.accuracies else []
    if not related:
        return None
    explained = [tested(together(results, related)), f"{' · '.join(names)}."]
    shifts = shifts_of_runs(results, related)
    return Found(
        title_of(spec, method=False),
        tuple(shifts),
        average(results, 0).value,
        chance_level(results, AVERAGE),
        tuple(benchmark.title for benchmark in results.accuracies),
        spec.method,
        MARGIN,
        recipe_told(spec.method, text_of(spec), f"λ = {spec.discount.discount_strength:g}"),
        "Without the discount: the control, which reads the same noised text, against the dense model. The discount: "
        "against that.",
        " ".join(explained),
    )


def answer(study: OfStudy | None, pairs: list[RunPair], found: Found | None, changes: Sequence[Changed] = ()) -> None:
    """Say in the first line what the discount changes of accuracy, and how many weights that takes. study: whose
    findings these are, None for runs. pairs: of `matched_pairs`. found: of `found_in_study` or `found_in_runs`.
    changes: of the masks, the first at the settings.
    """
    if found is None and study is None:
        st.markdown("What the sink discount does to accuracy at these settings is not measured yet.")
        if changes:
            st.markdown(plain(changes[0].words()))
        return
    told = _told(study, found, "" if study is not None else _seeds_in_words(pairs, found))
    st.markdown(f"##### {plain(told.said)}", help=plain(told.explained) or None)
    if told.numbers:
        st.markdown(plain(told.numbers))
    if told.recipe:
        st.caption(plain(told.recipe))


class _Told(NamedTuple):
    """What `answer` says: the first line, its help, the numbers with what holds of other recipes, and what was done."""

    said: str
    explained: str
    numbers: str = ""
    recipe: str = ""


@lru_cache(_KEPT)
def _told(study: OfStudy | None, found: Found | None, seeds: str = "") -> _Told:
    """seeds: of runs, in words."""
    said, explained = "This study does not hold what pruning costs.", ""
    told, recipe = list[str](), list[str]()
    if found is not None:
        first, *others = shown_shifts(found.shifts)
        levels = {found.setting: first.discount} | {one.sparsity: one.discount for one in others}
        costs = dict(zip(levels, (one.cost for one in (first, *others)), strict=True))
        of_discount = finding_of("discount at levels", levels, found.margin, found.accuracies, costs)
        said, numbers, stands, detected = of_discount
        fixed = "fixed in the study's specification" if study is not None else "that of a study"
        explained = f"The margin of {POINTS.margin(found.margin)} is {fixed}. {detected} {found.compared}"
        explained += f" Tasks: {listed(found.tasks)}. {found.explained}"
        whose = "" if study is None else f"{study.title}: "
        done = f"{whose}{found.recipe}; {stands[:1].lower()}{stands[1:]}" if stands else ""
        told, recipe = [numbers, found.published], [done, seeds]
    if study is not None:
        explained += f" Method, sparsity and λ are those chosen here, all else is as in the {study.within}."
    return _Told(said, " ".join(explained.split()), *(" ".join(filter(None, one)) for one in (told, recipe)))


_APART = "set_apart"
# Results of a study are set apart from the settings beside them, of which they are not.
_SET_APART = f"<style>[class*='st-key-'][class*='_{_APART}']{{border-left:5px solid {REFERENCE}}}</style>"


def results_box(study: OfStudy | None, key: str) -> DeltaGenerator:
    """Return a box for results, headed by whose they are: of the study, set apart, or None of the runs here."""
    if study is not None:
        st.html(_SET_APART)
    box = st.container(border=True, key=key if study is None else f"{key}_{_APART}", gap="xsmall")
    whose = "In your runs" if study is None else f"In the {study.within}"
    box.markdown(f"**{plain(whose)}**")
    return box


def _seeds_in_words(pairs: Sequence[RunPair], found: Found | None) -> str:
    """Return the calibration seeds of pairs, and how many of them are scored; '' where all are, which is told."""
    scored = 0 if found is None else found.shifts[0].discount.seeds
    if not METHODS[pairs[0].spec.method].calibrated or 0 < scored == len(pairs):
        return ""
    whole = f"Pruned with {counted(len(pairs), 'calibration seed')}"
    return f"{whole}, {scored} scored." if 0 < scored < len(pairs) else f"{whole}."
