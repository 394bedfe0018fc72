"""The accuracy of several models as it comes in: curves, paired differences, and the items they disagree on.

`accuracy_panel(record)` draws all of it for one evaluation, running or ended.
"""

from pathlib import Path

import pandas as pd
import streamlit as st

from analysis.engine import JobRecord
from analysis.errors import UserError
from analysis.evaluation import curves, tables
from analysis.evaluation import results as evaluations
from analysis.evaluation.results import AVERAGE, DOCUMENTS, STOP, Results
from analysis.figures import accuracy as figures
from pages.parts.charts import chart
from pages.parts.progress import cancel_button, progress_bar
from pages.parts.session import engine, plain

REFRESH = 1.0  # seconds
_DIFFERENCE = (
    "Over the items both models have answered, $d_i$ = 1 where the first alone is right, −1 where the other is:\n\n"
    r"$$\bar d \pm t_{n-1}\, s_d / \sqrt{n}$$"
)
_ACCURACY = r"Right answers of the first $n$ items of the shuffle, $\hat p$, with Wilson's 95 % interval."
_AVERAGE = r"The mean of the tasks' accuracies after $n$ items of each, with its 95 % normal interval."


def accuracy_panel(record: JobRecord) -> None:
    """Draws an evaluation. While it runs, it draws itself anew every second and leaves the rest of the page alone."""
    st.fragment(_panel, run_every=None if record.ended else REFRESH)(record.id, record.ended)


def _panel(job_id: str, was_ended: bool) -> None:
    record = engine().job(job_id)
    if record is None:
        st.info("This evaluation is no longer in the store. Evaluate again; what was answered is remembered.")
        return
    if record.ended and not was_ended:
        st.rerun()
    try:
        found = _results(record)
    except UserError as error:
        st.error(plain(str(error)))
        found = None
    _state(record, found)
    if found is None:
        return
    for problem in found.problems:
        st.warning(plain(problem), icon=":material/cloud_off:")
    if not found.answers:
        return
    if found.accuracies:
        _accuracies(found)
    for benchmark in found.benchmarks:
        if benchmark.kind == evaluations.PERPLEXITY:
            _perplexity(found, benchmark.name)
    if len(found.names) > 1 and found.accuracies:
        _disagreements(found)


# --- where it stands --------------------------------------------------------------------------------------------


def _results(record: JobRecord) -> Results | None:
    """What is there so far, or None."""
    path = _folder(record) / DOCUMENTS
    if record.state == "done":
        result = engine().result(record)
        return None if result is None or result.file is None else _ended(str(result.file), record.key or "")
    if not path.is_file() or not path.stat().st_size:
        return None
    return evaluations.read(path)


@st.cache_resource(max_entries=4, show_spinner=False)
def _ended(path: str, key: str) -> Results:
    return evaluations.read(Path(path))


def _folder(record: JobRecord) -> Path:
    return engine().store.incoming / record.id


def _state(record: JobRecord, found: Results | None) -> None:
    if not record.ended:
        _running(record, found)
        return
    if record.state != "done":
        said = {"cancelled": "was cancelled", "interrupted": "was interrupted"}.get(record.state, "failed")
        st.warning(
            f"This evaluation {said}. {plain(record.reason)} What was answered is remembered.".replace("  ", " ")
        )
        if st.button("Resume", key=f"resume_{record.id}", icon=":material/play_arrow:"):
            _again(record)
        return
    if found is None:
        st.info("The results are no longer in the store.")
    elif not record.summary.get("complete"):
        st.info(
            f"Stopped after {len(found.answers):,} answers: intervals only, as tests are for the number of items fixed "
            "at the start."
        )
    if (found is None or not record.summary.get("complete")) and st.button(
        "Resume", key=f"resume_{record.id}", icon=":material/play_arrow:"
    ):
        _again(record)


def _again(record: JobRecord) -> None:
    """The same question once more: it is answered from the store as far as it was."""
    try:
        if record.state == "done":
            new = engine().submit("evaluate", record.parameters())
        else:
            new = engine().restart(record.id)
    except UserError as error:
        st.error(plain(str(error)))
        return
    st.query_params["evaluation"] = new.id
    st.rerun()


def _running(record: JobRecord, found: Results | None) -> None:
    progress_bar(record)
    rate = engine().progress(record.id).details.get("items_per_second")
    stop, abort, text = st.columns([1, 1, 4], vertical_alignment="center")
    with stop:
        pressed = st.button(
            "Stop here", key=f"stop_{record.id}", icon=":material/stop:", disabled=found is None,
            help="Ends the evaluation and keeps what is there. It can be resumed.",
        )  # fmt: skip
    if pressed and _folder(record).is_dir():
        (_folder(record) / STOP).touch()
    with abort:
        cancel_button(record, f"cancel_{record.id}")
    if found is not None:
        restored = sum(answer.restored for answer in found.answers.values())
        parts = [f"{rate:.1f} items/s" if rate else "", f"{restored:,} answers known before" if restored else ""]
        text.caption(" · ".join(part for part in parts if part))


# --- accuracy ---------------------------------------------------------------------------------------------------


def _accuracies(found: Results) -> None:
    titles = {AVERAGE: "Average over tasks"} if len(found.accuracies) > 1 else {}
    titles |= {benchmark.name: benchmark.title for benchmark in found.accuracies}
    task = st.selectbox("Task", list(titles), format_func=titles.get, key="accuracy_task")
    final = evaluations.all_final(found, task)
    st.caption(_settings(found, task) + ("" if final else "  ·  **interim**: intervals only, no tests yet"))
    models = range(len(found.names))
    chart(
        f"Accuracy: {titles[task]}",
        "Share of right answers over the items done, in the order of the shuffle. The band is the 95 % interval.",
        _AVERAGE if task == AVERAGE else _ACCURACY,
        figures.running(curves.accuracy_curves(found, task), [figures.color_of(m) for m in models], "accuracy"),
        "accuracy_curves",
        pd.DataFrame(tables.accuracy_table(found)),
    )
    if len(found.names) > 1:
        _differences(found, task, titles[task])


def _settings(found: Results, task: str) -> str:
    chosen = found.accuracies if task == AVERAGE else [found.benchmark(task)]
    parts = []
    for label, name in (("draws", "draws"), ("examples", "shots"), ("guidance", "guidance")):
        kinds = sorted({getattr(one, name) for one in chosen})
        parts.append(f"{', '.join(f'{kind:g}' for kind in kinds)} {label}")
    return " · ".join([f"{sum(one.planned for one in chosen):,} items", *parts])


def _differences(found: Results, task: str, title: str) -> None:
    others = {0: found.names[0]} | ({found.control: found.names[found.control]} if found.control else {})
    base = 0
    if len(others) > 1:
        base = st.segmented_control(
            "Compared with", list(others), default=0, required=True, format_func=others.get, key="accuracy_base"
        )
    pairs = [pair for pair in evaluations.pairs(found) if pair[1] == base]
    if not pairs:
        return
    chart(
        f"Difference to {plain(found.names[base])}: {title}",
        "Accuracy less that of the other model on the same items, in points. Where the band holds 0, no difference is "
        "shown.",
        _DIFFERENCE,
        figures.running(
            curves.difference_curves(found, task, pairs), [figures.color_of(pair[0]) for pair in pairs],
            "points", difference=True,
        ),
        "accuracy_differences",
    )  # fmt: skip
    st.dataframe(
        pd.DataFrame(tables.difference_table(found, pairs)), hide_index=True, key="accuracy_difference_table",
        column_config={
            name: st.column_config.NumberColumn(name, format="%+.1f") for name in ("points", "low", "high")
        }
        | {name: st.column_config.NumberColumn(name, format="%.3g") for name in ("p", "p (Holm)")},
    )  # fmt: skip


# --- perplexity and items ---------------------------------------------------------------------------------------


def _perplexity(found: Results, name: str) -> None:
    benchmark = found.benchmark(name)
    st.markdown(f"**Perplexity: {benchmark.title}**")
    st.caption(
        "From the evidence lower bound (ELBO) of a diffusion model, so it is an upper bound on its perplexity; an "
        "autoregressive model's is exact. "
        f"{benchmark.draws} draws a window, over the texts that every model has read."
    )
    st.dataframe(pd.DataFrame(tables.perplexities(found, name)), hide_index=True, key=f"perplexity_{name}")


def _disagreements(found: Results) -> None:
    st.markdown("**Items on which two models disagree**")
    left, right, task, who = st.columns(4)
    models = list(range(len(found.names)))
    label = dict(enumerate(found.names)).get
    first = left.selectbox("First", models, format_func=label, key="disagree_first")
    others = [model for model in models if model != first]
    second = right.selectbox("Second", others, format_func=label, key="disagree_second")
    titles = {None: "all"} | {benchmark.name: benchmark.title for benchmark in found.accuracies}
    chosen = task.selectbox("Of task", list(titles), format_func=titles.get, key="disagree_task")
    rows = tables.disagreements(found, first, second, chosen)
    rights = ["anyone", found.names[first], found.names[second], "neither"]
    side = who.selectbox("Right is", rights, key="disagree_right")
    text = st.text_input("Text", key="disagree_text", placeholder="words in the question or the choices")
    shown = tables.filtered(rows, side if side != "anyone" else None, text)
    st.caption(f"{len(shown):,} of {len(rows):,} items")
    if shown:
        st.dataframe(pd.DataFrame(shown), hide_index=True, key="disagreements", height=320)
