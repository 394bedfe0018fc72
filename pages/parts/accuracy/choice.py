"""Evaluations on the page: choosing what to score of a model and its pruned copies, what that can show, and the results
of one evaluation or of several runs joined by item.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine import JobRecord
from analysis.engine.run_pairs import RunPair
from analysis.engine.runs import Run, Scored, known_runs
from analysis.errors import UserError
from analysis.evaluation import comparing, planning
from analysis.evaluation.comparing import DENSE
from analysis.evaluation.conditions import RELATIONS
from analysis.evaluation.importing import Part, joined
from analysis.evaluation.items_file import DOCUMENTS
from analysis.evaluation.plan_noise import Sample, measured
from analysis.evaluation.planning import Noise
from analysis.evaluation.presets import PRESETS, known_sizes
from analysis.evaluation.results import Growing, Results, read
from analysis.evaluation.tables import ROLES
from analysis.models.checkpoint import checkpoint_of
from analysis.specs import (
    CANVAS_SCORES,
    METHODS,
    NO_MASKED_ESTIMATE,
    EvaluateSpec,
    ModelSpec,
    PlanParams,
    PruneSpec,
    StudySpec,
    against,
    point_name,
    where,
    without_seed,
)
from analysis.words import TASK_SETS
from pages.parts import address, controls
from pages.parts.address import shown_box
from pages.parts.asking import starting_button
from pages.parts.controls import fold, keyed_columns, keys_of, settings_of
from pages.parts.plain import plain
from pages.parts.session import EXPECTED, engine, submit, tell, told, why

_PRESELECTED = "accuracy_preselected"
_RUNS = "accuracy_runs"
RUNS_ASKED = "with"  # in the address: ids of runs to compare the dense model with

MOST = 6  # models compared at once that are preselected
LIMIT: int = StudySpec.model_fields["limit"].default
"""Items per task that are preset: as many as in a study, enough to resolve differences of its margin."""


def choose_runs(runs: dict[str, Run]) -> list[str]:
    """Draw the box of a model's pruned copies, and return the ids of those chosen. runs: by id."""
    _preselect(runs)
    return st.multiselect(
        "Compare the dense model with",
        list(runs),
        key=_RUNS,
        format_func=lambda run_id: runs[run_id].name,
        persist_state="session",
        help="Every model gets the same items and the same masks, so differences are paired.",
    )


def score_settings(
    model: ModelSpec, runs: dict[str, Run], chosen: list[str], narrow: bool = False, seeds: int = 1
) -> dict[str, Any] | None:
    """Draw tasks, items, what they can show, and the button that scores the dense model and the chosen runs.

    Return the settings as fields of `EvaluateSpec`; None where they are incompatible. runs: all pruned copies of the
    model, by id. narrow: there is room for only one control beside another. seeds: calibration seeds to compare; the
    chosen runs have one of them.
    """
    first = st.container(key="accuracy_tasks_place")
    columns = [first] * 4 if narrow else keyed_columns([2, 1, 1, 1], "accuracy_tasks")
    values = draw_tasks("accuracy", columns) | choose_score(model) | _more(narrow)
    tasks = values.pop("tasks")
    planned(tasks, values["limit"], len(chosen) if seeds == 1 else 1, _measured(chosen, runs), seeds)
    settings = {"model": model, "tasks": tasks or ("bundled",), **values}
    problem = "" if tasks else "Choose at least one task."
    try:
        spec = _spec(settings, runs, chosen)
    except EXPECTED as error:
        problem = why(error)
    if problem:
        st.error(plain(problem))
    if runs:
        _compare_button(narrow, problem, None if problem else spec)
    return None if problem else settings


def draw_tasks(prefix: str, columns: Sequence[DeltaGenerator]) -> dict[str, Any]:
    """Draw tasks, items, draws and seed, a column each; return them as fields of `EvaluateSpec`. prefix: of keys."""
    tasks = controls.draw_several(
        EvaluateSpec,
        "tasks",
        f"{prefix}_tasks",
        ["bundled", "paper", *PRESETS],
        columns[0],
        wrap=True,
        accept_new_options=True,
        format_func=lambda name: PRESETS[name].title if name in PRESETS else TASK_SETS.get(name, name),
    )
    keys = keys_of(prefix, ("limit", "draws", "seed"))
    return {"tasks": tasks, **controls.draw_each(EvaluateSpec, keys, columns[1:], {"limit": LIMIT})}


def _compare_button(narrow: bool, problem: str, spec: EvaluateSpec | None) -> None:
    starting_button(
        "Compare accuracy",
        "compare_accuracy",
        _evaluate,
        type="primary" if not narrow else "secondary",
        icon=":material/monitoring:",
        disabled=bool(problem),
        help=plain(problem) or None,
        args=(spec,),
    )


def score(settings: Mapping[str, Any], runs: Mapping[str, Run], chosen: Sequence[str]) -> None:
    """Submit the evaluation of the dense model and the chosen runs. settings: of `score_settings`."""
    _evaluate(_spec(settings, runs, chosen))


def _spec(settings: Mapping[str, Any], runs: Mapping[str, Run], chosen: Sequence[str]) -> EvaluateSpec:
    """Build the spec. Raises ValidationError where settings clash."""
    model: ModelSpec = settings["model"]
    return EvaluateSpec(
        compare=tuple(model.model_copy(update={"source": runs[run_id].source}) for run_id in chosen),
        names=("dense", *(runs[run_id].name for run_id in chosen)),
        **settings,
    )


def _measured(chosen: Sequence[str], runs: Mapping[str, Run]) -> Noise | None:
    """Return the noise of comparisons like the planned one, pooled over all complete evaluations of runs that differ
    from the chosen ones only in calibration seed; None if there are none.
    """
    settings = {run_id: _setting(run) for run_id, run in runs.items()}
    wanted = {settings[run_id] for run_id in chosen} - {None}
    relation = next((name for name in RELATIONS if _compares(name, [runs[run_id] for run_id in chosen])), DENSE)
    places: dict[str, tuple[JobRecord, list[int]]] = {}
    for run_id, run in runs.items():
        for scored in run.evaluations if settings[run_id] in wanted else ():
            if scored.record.kind == "evaluate" and scored.record.summary.get("complete"):
                places.setdefault(scored.record.id, (scored.record, []))[1].append(scored.number)
    samples: list[Sample] = []
    for record, models in sorted(places.values(), key=lambda place: (-len(place[1]), place[0].created)):
        seen = frozenset(pair for sample in samples for pair in sample.runs)
        samples += _samples(record.key, relation, tuple(sorted(models)), seen, record)
    return measured(samples) if samples else None


def _setting(run: Run) -> str | None:
    """Return a run's pruning parameters without the seed; None if unknown."""
    return None if run.pruning is None else without_seed(run.pruning).model_dump_json(exclude={"model"})


def _compares(relation: str, runs: Sequence[Run]) -> bool:
    """Return whether the runs include a pair to compare by this relation."""
    settings = {setting for run in runs if (setting := _setting(run)) is not None}
    for setting in settings:
        against_it = against(PruneSpec.model_validate_json(setting), relation)
        if against_it is not None and without_seed(against_it).model_dump_json(exclude={"model"}) in settings:
            return True
    return False


@st.cache_data(max_entries=64, show_spinner=False)
def _samples(
    key: str | None, relation: str, models: tuple[int, ...], seen: frozenset[tuple[str, str]], _record: JobRecord
) -> list[Sample]:
    """Return the samples of these models in the result of this key. seen: pairs (`Sample.runs`) counted elsewhere."""
    results = results_of(_record)
    if results is None:
        return []
    related = comparing.related_pairs(results)[relation]
    left_out = {pair for pair in related if comparing.run_pair(results, pair) in seen}
    return comparing.samples(results, relation, models, left_out)


def _more(narrow: bool) -> dict:
    """Draw the settings that override how the tasks put their items."""
    keys = keys_of("accuracy", ("shots", "guidance", "gen_length", "chat_template"))
    # Not from the address: functions in the folder are run, and a link must not lead there.
    folder = {"include_path": "accuracy_include_path"}
    settings = [*settings_of(EvaluateSpec, keys), *settings_of(EvaluateSpec, folder, linked=False)]
    place, drawn = fold("More settings", "fold_accuracy_more", settings)
    if not drawn:
        return {}
    columns = [place] if narrow else keyed_columns(len(keys), "accuracy_more", place)
    values = controls.draw_each(EvaluateSpec, keys, columns)
    with place:
        own = controls.draw(EvaluateSpec, "include_path", folder["include_path"], persist_state="session")
        values["include_path"] = own or None
    return values


def _evaluate(spec: EvaluateSpec) -> None:
    """Submit the evaluation. A callback, so that no other rerun can lose the click."""
    address.write("evaluation", submit("evaluate", spec).id)


# --- results --------------------------------------------------------------------------------------------------------


RunNames = Mapping[tuple[str, int], tuple[str, str]]
"""By an evaluation's id and a model's number: the model's name in a sweep, and the name of its run."""


def evaluations() -> list[JobRecord]:
    """Return the evaluations and the finished imports, newest first."""
    imports = [record for record in engine().jobs("import") if record.state == "done"]
    return sorted([*engine().jobs("evaluate"), *imports], key=lambda record: -record.created)


def finished_results(record: JobRecord) -> Results | None:
    """Return a finished evaluation's results, its models named as on pages; None if it is no longer in the store.
    Raises UserError for a damaged file.
    """
    return _results(record, names_of_models(record, run_names()))


def run_names() -> RunNames:
    """Return the names of the pruned models of all finished evaluations."""
    names: dict[tuple[str, int], tuple[str, str]] = {}
    for run in known_runs(engine()):
        if run.pruning is not None and run.evaluations:
            swept = point_name(run.pruning)
            names |= {(scored.record.id, scored.number): (swept, run.name) for scored in run.evaluations}
    return names


def names_of_models(record: JobRecord, known: RunNames) -> tuple[str, ...]:
    """Return the names of a finished evaluation's models: its own, or those of the runs for models named by a sweep, if
    no two become equal.
    """
    own = tuple(map(str, record.summary["models"]))
    swept = [known.get((record.id, number), ("", "")) for number in range(len(own))]
    names = tuple(run if run and name == point else name for name, (point, run) in zip(own, swept, strict=True))
    return names if len(set(names)) == len(names) else own


def _results(record: JobRecord, names: tuple[str, ...]) -> Results | None:
    file = engine().result_file(record)
    return None if file is None else _opened(str(file), record.key, names)


@st.cache_resource(max_entries=8, show_spinner=False)
def _opened(path: str, key: str | None, names: tuple[str, ...]) -> Results:
    found = read(Path(path))
    if not names:
        return found
    return replace(found, header=found.header.model_copy(update={"names": names}))


def joined_results(runs: Sequence[Run], dense: bool = False, names: Sequence[str] = ()) -> Results | None:
    """Return the answers of the runs, from an evaluation they share, else joined by item from the newest of each; None
    after saying why there are none. dense: put the dense model of the first one's evaluation before them. names: of the
    runs here, instead of their own.
    """
    shared = _shared(runs)
    names = names or [run.name for run in runs]
    for run, scored in zip(runs, shared, strict=True):
        if not engine().has_result(scored.record):
            st.info(f"The answers of {plain(run.name)} are no longer in the store. Score it again.")
            return None
    key = tuple((name, scored.record.key, scored.number) for name, scored in zip(names, shared, strict=True))
    try:
        together = _joined((dense, *key), dense, names, shared)
    except EXPECTED as error:
        tell(error)
        return None
    for problem in together.problems:
        st.caption(f":material/join_inner: {plain(problem)}")
    return together


@st.cache_resource(max_entries=8, show_spinner="Reading the answers …")
def _joined(key: tuple[object, ...], _dense: bool, _names: Sequence[str], _shared: Sequence[Scored]) -> Results:
    """Read each file once, as many are more than are kept."""
    parts: list[Part] = []
    for name, scored in zip(_names, _shared, strict=True):
        results = _results(scored.record, ())
        if results is None:
            raise UserError(f"The answers of {name} are no longer in the store. Score it again.")
        if _dense and not parts:
            parts.append(Part(results.names[0], results, 0))
        parts.append(Part(name, results, scored.number))
    return joined(parts)


def pair_results(pairs: list[RunPair]) -> Results | None:
    """Return what pairs answered beside their dense model, joined by item; None where none is scored. pairs: of
    `scored_pairs`."""
    if not pairs:
        return None
    names = [f"{role}, {where(pair.spec)}, seed {pair.seed}" for pair in pairs for role in ROLES]
    return joined_results([run for pair in pairs for run in (pair.control, pair.run)], dense=True, names=names)


def _shared(runs: Sequence[Run]) -> list[Scored]:
    """Return where each run was scored: in the newest evaluation that holds all of them, else in its own newest."""
    for first in runs[0].evaluations:
        places = [
            next((evaluation for evaluation in run.evaluations if evaluation.record.id == first.record.id), None)
            for run in runs
        ]
        shared = [place for place in places if place is not None]
        if len(shared) == len(runs):
            return shared
    return [run.evaluations[0] for run in runs]


@told()
def results_of(record: JobRecord) -> Results | None:
    """Return the results so far, or None."""
    if record.state == "done":
        return finished_results(record)
    growing = engine().growing_file(record, DOCUMENTS)
    return None if growing is None else _growing(str(growing), record.run).read()


@st.cache_resource(max_entries=4, show_spinner=False)
def _growing(path: str, run: str) -> Growing:
    """Open the growing file. run: the job's try, as the next one writes another file of the same name."""
    return Growing(Path(path))


# --- the evaluation shown ---------------------------------------------------------------------------------------


def choose_evaluation(
    default: JobRecord | None = None, instead: str = "", boxed: bool = True, place: Any = st
) -> JobRecord | None:
    """Draw the box of evaluations, and return the one in the address, else the default, else the newest.

    instead: what to show if the address names none and that is no evaluation. boxed: draw a box to choose another from.
    place: of the box.
    """
    records = {record.id: record for record in evaluations()}
    evaluation_id = address.named("evaluation")
    if evaluation_id and evaluation_id not in records:
        newest = " Here is the newest one instead." if records and not instead else ""
        st.warning(f"The evaluation in this address is not in the store.{newest}")
        evaluation_id = None
    if not records:
        return None
    known = run_names()
    usual = None if instead else default.id if default is not None else next(iter(records))
    shown = evaluation_id or usual
    if boxed and (len(records) > 1 or shown is None):
        with place.popover("Evaluations", icon=":material/history:", key="evaluations"):
            shown_box(
                "Evaluation",
                "evaluation_shown",
                shown,
                records,
                lambda job: _title(records[job], known),
                partial(address.write, "evaluation"),
                placeholder="Choose an evaluation",
            )
            if evaluation_id and instead:
                st.button(f"Back to {instead}", key="evaluation_back", on_click=address.drop, args=("evaluation",))
    if shown is not None:
        st.caption(plain(_title(records[shown], known)))
    return None if shown is None else records[shown]


def _title(record: JobRecord, known: RunNames) -> str:
    """Return an evaluation in one line: models, tasks, number of items, date."""
    when = datetime.fromtimestamp(record.created).strftime("%d %b %H:%M:%S")
    if record.kind == "import":
        names, tasks = ", ".join(record.summary["models"]), [task["title"] for task in record.summary["tasks"]]
        more = f" and {len(tasks) - 3} more" if tasks[3:] else ""
        return f"{names} · {', '.join(tasks[:3])}{more} · imported · {when}"
    spec = record.spec
    paths = (Path(model["source"]) for model in (spec["model"], *spec.get("compare", ())))
    own = spec.get("names") or [path.name if path.is_absolute() else str(path) for path in paths]
    ended = record.state == "done" and record.summary.get("models")
    names = ", ".join(names_of_models(record, known) if ended else own)
    limit = f"{spec['limit']} items per task" if spec["limit"] else "all items"
    tasks = [TASK_SETS.get(name, name) for name in spec["tasks"]]
    return f"{names} · {', '.join(tasks)} · {limit} · seed {spec['seed']} · {when}"


# --- runs to compare --------------------------------------------------------------------------------------------


def _preselect(runs: dict[str, Run]) -> None:
    """Select the newest run of each method, or those in the address. New runs are added until this visitor chooses."""
    asked = [run_id for run_id in runs if run_id in st.query_params.get_all(RUNS_ASKED)]
    newest: dict[str, str] = {}
    for run_id, run in runs.items():
        newest.setdefault(str(run.parameters.get("method")), run_id)
    ids = asked or [newest[method] for method in METHODS if method in newest][:MOST]
    chosen, before = st.session_state.get(_RUNS), st.session_state.get(_PRESELECTED)
    if chosen is None or chosen == before or (asked and asked != before):
        chosen = ids
    st.session_state[_RUNS] = [run_id for run_id in chosen if run_id in runs]  # one may have been removed
    st.session_state[_PRESELECTED] = ids


_ASSUMED = ("disagreement", "alike", "changing", "seed_spread")


def planned(names: Sequence[str], limit: int | None, compared: int, measured: Noise | None, seeds: int = 1) -> None:
    """Draw the plan for these tasks with `limit` items each. compared: models besides the first. measured: the noise in
    an earlier evaluation of this model, if any. seeds: calibration seeds; over several, one comparison is tested; with
    one, every task of every model is.
    """
    tasks, unknown = _sizes(tuple(names))
    if not compared or not tasks:
        return
    tests = compared * (len(tasks) + (len(tasks) > 1)) if seeds == 1 else compared
    keys = keys_of("plan", ("target", *(_ASSUMED if measured is None else ())))
    words = {"target": "a difference of {} points"}
    shown = st.container()
    place, drawn = fold("How many items and seeds?", "fold_plan", settings_of(PlanParams, keys, ("target",), words))
    columns = keyed_columns(len(_ASSUMED) + 1, "plan", place) if drawn else ()
    params = PlanParams(**controls.draw_each(PlanParams, keys, columns))
    noise = None if measured is None else astuple(measured)
    shows, wanted, source, noisy = _sentences(tuple(names), noise, params, limit, seeds, tests)
    shown.caption(f":material/calculate: {plain(shows)} Noise: {plain(noisy)}.")
    if drawn:
        place.markdown(f"{plain(wanted)} {plain(source)}")
        if unknown:
            missing = plain(", ".join(unknown))
            place.caption(f"How many items there are is not known before they are read: {missing}.")


_sizes = st.cache_data(max_entries=64, show_spinner=False)(known_sizes)


@st.cache_data(max_entries=64, show_spinner=False)
def _sentences(
    names: tuple[str, ...],
    measured: tuple[Any, ...] | None,
    params: PlanParams,
    limit: int | None,
    seeds: int,
    tests: int,
) -> list[str]:
    """Return the plan's sentences and the source of its noise, cached as searching sizes takes half a second. measured:
    the fields of a `Noise`; else as of `planning.sentences`.
    """
    noise = planning.assumed(params) if measured is None else Noise(*measured)
    said = planning.sentences(known_sizes(names)[0], noise, params.target / 100, limit, seeds, tests)
    return [*said, noise.source]


def choose_score(model: ModelSpec) -> dict[str, str]:
    """Draw the choice of likelihoods of a model whose noise is random tokens; nothing for any other."""
    if not _random_tokens(model):
        return {}
    chosen = controls.draw(EvaluateSpec, "canvas_score", "accuracy_canvas_score")
    st.caption(f":material/info: {CANVAS_SCORES[chosen].sentence} {NO_MASKED_ESTIMATE}")
    return {"canvas_score": chosen}


def say_scores(model: ModelSpec) -> None:
    """Say how a model whose noise is random tokens is scored, before there is anything to choose."""
    if _random_tokens(model):
        default = CANVAS_SCORES[EvaluateSpec.model_fields["canvas_score"].default]
        st.caption(f":material/info: {default.sentence} {NO_MASKED_ESTIMATE}")


def _random_tokens(model: ModelSpec) -> bool:
    try:
        checkpoint = checkpoint_of(model)
    except EXPECTED:
        return False
    return checkpoint is not None and checkpoint.architecture.noise == "uniform"
