"""An evaluation as it comes in: its progress, its results so far, and the items on which its models disagree.

`accuracy_panel(record)` draws all of one evaluation, running, ended or imported; `accuracy_in_brief(record)` only the
results to read at a glance, with a link to the rest.
"""

from collections.abc import Callable, Sequence

import pandas as pd
import streamlit as st

from analysis.engine import JobRecord
from analysis.evaluation import comparing, tables
from analysis.evaluation.results import PERPLEXITY, Results
from analysis.jobs.summaries import EvaluatePartial
from analysis.specs import EvaluateSpec, ImportSpec, Spec
from analysis.specs.commands import evaluate_command, import_command
from pages.parts import address
from pages.parts.accuracy.choice import results_of
from pages.parts.accuracy.results import Compared, accuracies, at_a_glance, differences, in_brief, perplexity, scores_of
from pages.parts.asking import acting_button, cancel_button, duration, how_it_ended, progress_bar, running
from pages.parts.charts import download, export_button, reproduce, table
from pages.parts.controls import keyed_columns, pick
from pages.parts.lazy_section import lazy_section
from pages.parts.plain import code, plain
from pages.parts.session import LOOK, REDRAW, engine, restart, submit, told

ALL_SEEDS = "all calibration seeds, with against without the discount"
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

    st.fragment(_state, run_every=LOOK)(record.id)
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
