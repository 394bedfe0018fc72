"""An evaluation as it comes in: its progress, its results so far, and the items on which its models disagree.

`accuracy_panel(record)` draws all of one evaluation, running, ended or imported; `accuracy_in_brief(record)` only the
results to read at a glance, with a link to the rest.

Results of finished evaluations: of one, or of several runs joined by item.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import streamlit as st

from analysis.engine import JobRecord
from analysis.engine.run_pairs import RunPair
from analysis.engine.runs import Run, Scored, known_runs
from analysis.errors import UserError
from analysis.evaluation import comparing, tables
from analysis.evaluation.importing import Part, joined
from analysis.evaluation.items_file import DOCUMENTS
from analysis.evaluation.results import PERPLEXITY, Growing, Results, read
from analysis.evaluation.tables import ROLES
from analysis.jobs import EvaluatePartial
from analysis.specs import EvaluateSpec, ImportSpec, Spec, point_name, where
from analysis.specs.commands import evaluate_command, import_command
from pages.parts import address
from pages.parts.accuracy.results import Compared, accuracies, at_a_glance, differences, in_brief, perplexity, scores_of
from pages.parts.asking import acting_button, cancel_button, duration, how_it_ended, progress_bar, running
from pages.parts.charts import download, export_button, reproduce, table
from pages.parts.controls import keyed_columns, pick
from pages.parts.lazy_section import lazy_section
from pages.parts.plain import code, plain
from pages.parts.session import EXPECTED, engine, restart, submit, tell, told

ALL_SEEDS = "all calibration seeds, with against without the discount"
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


_BOUND = (
    r"$b_i = -\log p(\text{right answer}) / \text{its tokens}$: for a diffusion model LLaDA's bound on it, "
    "estimated with masks that all models share, for an autoregressive model exact. Means have Student's 95 % interval "
    "clustered as accuracies are."
)
_OF_CANVASES = (
    r"$b_i = -\log p(\text{right answer}) / \text{its tokens}$. Means have Student's 95 % interval clustered as "
    "accuracies are."
)


def likelihoods(results: Results) -> None:
    """Draw the bounds of every model, and the differences between the chosen pairs."""
    scores = scores_of(results)
    formula = _OF_CANVASES if scores else _BOUND
    table(
        "Negative log-likelihood of right answers",
        f"Nats per token, lower is better; never averaged with accuracy. {scores or comparing.LEFT_OUT}",
        pd.DataFrame(comparing.bound_table(results)).rename(columns=tables.READ_AS),
        "bound_table",
        formula,
    )
    pairs = comparing.pairs(results)
    if pairs:
        table(
            "Differences in nats per token",
            "First minus second model on the same items with the same masks; below 0 the first finds the right answers "
            "likelier. Holm correction over this table alone.",
            pd.DataFrame(comparing.bound_differences(results, pairs)).rename(columns=tables.READ_AS),
            "bound_differences",
            formula,
        )


REFRESH = 1.0  # seconds between looks at how far it is
REDRAW = 4.0  # seconds between drawings of the results, as a plot that changes is blank for a moment


def accuracy_panel(record: JobRecord) -> None:
    """Draw an evaluation. While it runs, it redraws itself and leaves the rest of the page alone."""
    if record.ended:
        _ended(record)
    else:
        _follow(record, lambda results: _more(results, _first(results)))


def _follow(record: JobRecord, draw: Callable[[Results], None]) -> None:
    """Draw the progress of a running evaluation, and its results so far, again and again."""

    def so_far() -> None:
        now = engine().job(record.id)
        results = None if now is None else results_of(now)
        if results is not None:
            draw(results)

    st.fragment(_state, run_every=REFRESH)(record.id)
    st.fragment(so_far, run_every=REDRAW)()


def joined_panel(results: Results, names: Sequence[str]) -> None:
    """Draw the answers of runs, scored together or apart, to the same items. names: of the runs."""
    compared = _first(results)

    def more() -> None:
        _more(results, compared)
        export_button("SinkScope: runs", {"runs": list(names)}, ", ".join(names))

    lazy_section(more, "accuracy_below", 2000)


def accuracy_in_brief(record: JobRecord) -> None:
    """Draw an evaluation's progress, its accuracies so far and what they say."""
    if not record.ended:
        _follow(record, in_brief)
        return
    results = results_of(record)
    if results is None or not record.summary.get("complete"):
        _how_it_ended(record, results)
    if results is not None:
        in_brief(results)


def _ended(record: JobRecord) -> None:
    results = results_of(record)
    _how_it_ended(record, results)
    if results is None:
        return
    compared = _first(results)

    def more() -> None:
        _more(results, compared)
        if record.state == "done":
            _take_away(record)

    lazy_section(more, "accuracy_below", 2000)


def _first(results: Results) -> Compared | None:
    """Draw the results to read at a glance, and return what was compared."""
    for problem in results.problems:
        st.warning(plain(problem), icon=":material/cloud_off:")
    _cut(results)
    if not results.answers:
        return None
    scores = scores_of(results)
    if scores:
        st.info(scores)
    if not results.accuracies:
        return None
    compared = at_a_glance(results) if len(results.names) > 1 else None
    accuracies(results)
    return compared


def _more(results: Results, compared: Compared | None) -> None:
    """Draw the details."""
    if not results.answers:
        return
    if compared is not None:
        differences(results, compared)
    if comparing.bounded(results):
        with st.expander("Log-likelihood of right answers", key="fold_likelihoods"):
            likelihoods(results)
    for benchmark in results.benchmarks:
        if benchmark.kind == PERPLEXITY:
            perplexity(results, benchmark.name)
    if len(results.names) > 1 and results.accuracies:
        disagreements(results)


# --- where it stands --------------------------------------------------------------------------------------------


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


def _how_it_ended(record: JobRecord, results: Results | None) -> None:
    if record.kind == "import":
        _how_it_was_imported(record, results)
    elif record.state != "done":
        st.warning(how_it_ended(record, "evaluation", "What was answered is remembered."))
        _resume(record)
    elif results is None:
        st.info("The results are no longer in the store.")
        _resume(record)
    elif record.summary.get("complete"):
        known = record.summary.get("restored", 0)
        seconds = (record.finished or 0) - (record.started or 0)
        st.caption(
            f":material/check_circle: Finished: {len(results.answers):,} answers in {duration(seconds)}"
            + (f", {known:,} of them known before." if known else ".")
        )
    else:
        planned = len(results.names) * sum(benchmark.planned for benchmark in results.benchmarks)
        st.info(
            f"Stopped after {len(results.answers):,} of {planned:,} answers: intervals only, as tests are "
            "for the number of items fixed at the start."
        )
        _resume(record)


def _how_it_was_imported(record: JobRecord, results: Results | None) -> None:
    if record.state != "done":
        st.warning(plain(f"This import did not end well. {record.reason}"))
    elif results is None:
        st.info("These answers are no longer in the store. Import the folder again below.")
    else:
        folders = ", ".join(record.parameters(ImportSpec).folders)
        st.caption(f":material/download_done: Imported: {len(results.answers):,} answers from {code(folders)}.")


def _resume(record: JobRecord) -> None:
    if not acting_button(
        "Resume",
        f"resume_{record.id}",
        icon=":material/play_arrow:",
        help="Asks what is missing. What was answered is read from the store.",
    ):
        return
    with told():
        new = submit("evaluate", record.parameters()) if record.state == "done" else restart(record.id)
        address.write("evaluation", new.id)
        st.rerun()


def _state(job_id: str) -> None:
    """Draw the progress of a running evaluation and the buttons that end it."""
    record = running(job_id)
    now = engine().progress(record.id)
    partial = now.details_as(EvaluatePartial) if record.kind == "evaluate" else EvaluatePartial()
    evaluating = "restored" in partial and now.total > 0
    if evaluating:
        rate, left, restored = partial["items_per_second"], partial["seconds_left"], partial["restored"]
        parts = [
            f"{now.done:,} of {now.total:,} answers",
            f"{rate:.1f} items/s" if rate else "",
            f"{duration(left)} left" if left is not None and now.done < now.total else "",
            f"{restored:,} answers known before" if restored else "",
        ]
        st.progress(min(now.done / now.total, 1.0), text=" · ".join(part for part in parts if part))
    else:
        progress_bar(record)
    with st.container(horizontal=True):
        if record.kind == "evaluate" and acting_button(
            "Stop here",
            f"end_{record.id}",
            icon=":material/stop:",
            disabled=not evaluating or not engine().authorizer.is_theirs_alone(record),
            help="Ends the evaluation and keeps what is there. It can be resumed.",
        ):
            engine().finish_early(record.id)
        cancel_button(record, f"cancel_{record.id}")


def _cut(results: Results) -> None:
    cut = tables.cut_items(results)
    named = ", ".join(f"{count:,} of {results.benchmark(name).title}" for name, count in cut.items() if count)
    if named:
        st.caption(
            f":material/content_cut: Prompts that were longer than a model takes, and were asked without their "
            f"beginning: {plain(named)}."
        )


# --- to take away -----------------------------------------------------------------------------------------------


def _take_away(record: JobRecord) -> None:
    spec = record.parameters(Spec)
    repeated = (
        import_command(spec) if isinstance(spec, ImportSpec) else evaluate_command(record.parameters(EvaluateSpec))
    )
    reproduce(repeated)
    file = engine().result_file(record)
    with st.container(horizontal=True):
        names = list(record.summary["models"])
        export_button("SinkScope: accuracy", {"names": names, **record.spec}, ", ".join(names))
        help = "Accuracies, differences, tests, settings, versions and hardware."
        download("Summary (JSON)", record.summary, "accuracy.json", "accuracy_summary", help=help)
        if file is not None:
            help = "One line for every item and every answer."
            download("Items (JSONL)", file.read_bytes, "accuracy.items.jsonl", "accuracy_items", help=help)


_ALL, _ANYONE, _NEITHER = "all", "anyone", "neither"


def disagreements(results: Results) -> None:
    """Draw the two models, the filters and the items in a fold."""
    named = any(name.startswith("disagree_") for name in st.query_params)
    with st.expander("Items on which two models disagree", key="fold_disagreements", expanded=named):
        _items(results)


def _items(results: Results) -> None:
    names = list(results.names)
    one, other, of, who, words = keyed_columns([4, 4, 3, 4, 4], "disagree")
    first = pick("First", names, "disagree_first", one)
    others = [name for name in names if name != first]
    second = pick("Second", others, "disagree_second", other)
    titles = {_ALL: "all"} | results.titles
    task = pick("Task", titles, "disagree_task", of, format_func=titles.__getitem__)
    side = pick("Right", [_ANYONE, first, second, _NEITHER], "disagree_right", who)
    text = words.text_input("Search", key="disagree_text", placeholder="Words of the question", bind="query-params")
    models = names.index(first), names.index(second)
    rows = tables.disagreements(results, *models, None if task == _ALL else task)
    shown = tables.filtered(rows, side if side != _ANYONE else None, text)
    if not shown:
        st.caption(f"0 of {len(rows):,} items.")
        return
    picked = table(
        f"{len(shown):,} of {len(rows):,} items",
        "Tick a row to see its item in full. Log-likelihoods are in nats, in the order of the choices.",
        pd.DataFrame(shown),
        "disagreements",
        export=False,
        height=min(38 + 35 * len(shown), 320),
        column_config={"question": st.column_config.TextColumn(width="large")},
        on_select="rerun",
        selection_mode="single-row",
    )
    chosen = picked.selection.rows
    if chosen and chosen[0] < len(shown):
        _item(results, shown[chosen[0]], *models)


def _item(results: Results, row: dict, first: int, second: int) -> None:
    with st.container(border=True):
        st.markdown(f"**{plain(row['task'])} · {plain(row['item'])}**")
        st.text(row["question"])
        choices = tables.choice_table(results, row["item"], first, second)
        if choices:
            number = st.column_config.NumberColumn(format="%.2f", help="In nats.")
            st.dataframe(
                pd.DataFrame(choices),
                hide_index=True,
                key="disagreement_choices",
                column_config={f"{results.names[model]} log-likelihood": number for model in (first, second)},
            )
        else:
            st.dataframe(
                pd.DataFrame(
                    {
                        "who": ["right", results.names[first], results.names[second]],
                        "answer": [row["right"], *(row[f"{results.names[model]} chose"] for model in (first, second))],
                    }
                ),
                hide_index=True,
                key="disagreement_answers",
            )
