"""One run, opened: name, tags and notes, settings, report, evaluations, the command that reproduces it, and removal."""

from datetime import datetime
from pathlib import Path

import pandas as pd
import streamlit as st

from analysis.engine.permissions import NOT_YOURS
from analysis.engine.publishing import Upload, planned_upload, upload
from analysis.engine.runs import Run, remove_run, save_label, score_in, size
from analysis.evaluation import conditions
from analysis.pruned.report_file import read_report
from analysis.specs import ImportSpec
from cache.environment import gigabytes
from pages.parts import address
from pages.parts.asking import acting_button, may_act
from pages.parts.charts import table
from pages.parts.plain import code, plain
from pages.parts.pruning.report import pruned_numbers, pruned_report
from pages.parts.recordings.recording import finished_recordings
from pages.parts.run_rows import accuracy_cells, label_form, label_said, name_dense_models
from pages.parts.session import engine, told

VIEW = "runs_view"
"""In the address: the view of the ticked runs."""


def view_button(view: str, label: str, icon: str) -> None:
    """Draw a button that shows another view of what is ticked."""
    st.button(label, key=f"to_{view.lower()}", icon=icon, on_click=_show, args=(view,))


def evaluation_button(evaluation: str, label: str) -> None:
    """Draw a button that shows an evaluation."""
    st.button(
        label, key=f"to_{evaluation}", icon=":material/monitoring:", on_click=_show_evaluation, args=(evaluation,)
    )


def _show(view: str) -> None:
    st.session_state[VIEW] = view


def _show_evaluation(evaluation: str) -> None:
    address.write("evaluation", evaluation)
    _show("Accuracy")


def to_recordings(run: Run) -> None:
    """Link to the newest recording of a run's model with its sinks, else to the page that records one."""
    recording = next((job for job in finished_recordings() if job.spec["model"]["source"] == run.source), None)
    if recording is not None:
        st.page_link(
            "pages/explore.py",
            label="**Its newest recording**",
            icon=":material/blur_on:",
            query_params={"recording": recording.id, "source": run.source},
        )
    st.page_link(
        "pages/explore.py",
        label="**Record a prompt with it**",
        icon=":material/play_circle:",
        query_params={"source": run.source},
    )


_UPLOADED = "pushed_to"  # the address of the last upload, by run


def push_fold(run: Run) -> None:
    """Draw a repository's name, what would go there, and the button that uploads it."""
    if run.kind != "pruned" or not run.runs or run.folder is None or not engine().authorizer.may("push"):
        return
    with st.expander("Push to the Hugging Face hub", icon=":material/cloud_upload:"), told():
        name = st.text_input("Repository", placeholder="me/my-model", key=f"push_to_{run.id}")
        public = st.checkbox("Public", key=f"push_public_{run.id}", help="A new repository is private without it.")
        if not name:
            st.caption("The upload uses the token of this server: HF_TOKEN, or a log-in with `hf auth login`.")
            return
        plan = planned_upload(run.folder, name, engine())
        kept = "public" if public else "private"
        st.caption(plain(f"{len(plan.files) + 1} files, {gigabytes(plan.bytes)}, into a {kept} repository."))
        st.code(plan.card, language="markdown", height=260)
        if st.button("Push", key=f"push_{run.id}", icon=":material/cloud_upload:"):
            with st.spinner("Uploading…"):
                st.session_state[_UPLOADED] = {run.id: _pushed(plan, run.folder, public)}
        address = st.session_state.get(_UPLOADED, {}).get(run.id)
        if address:
            st.success(plain(f"Uploaded: {address}"))


def _pushed(plan: Upload, folder: Path, public: bool) -> str:
    """Upload in the name of the visitor. Raises UserError for one who may not, and where the hub refuses."""
    engine().authorizer.demand("push")
    engine().authorizer.check_folder(str(folder))
    return upload(plan, private=not public)


def open_run(run: Run) -> None:
    """Draw everything about a run."""
    st.subheader(plain(run.name))
    if run.name != run.automatic:
        st.caption(plain(run.automatic))
    if run.report is not None:
        pruned_numbers(run)
    with st.container(horizontal=True, vertical_alignment="center"):
        if run.kind == "pruned" and run.runs:
            view_button("Texts", "Show its text beside the dense one", ":material/notes:")
        if run.has_masks:
            view_button("Masks", "Show its masks", ":material/grid_on:")
        if run.kind == "pruned":
            view_button("Accuracy", "Show its accuracy", ":material/monitoring:")
        if run.runs:
            to_recordings(run)
    if run.kind == "imported":
        _origin(run)
    _label(run)
    _evaluations(run)
    if run.report is not None:
        _report(run)
    push_fold(run)
    if run.kind not in ("dense", "evicted"):
        _remove(run)


def _origin(run: Run) -> None:
    """Say where an imported run comes from, and what is left out of comparisons."""
    if run.record is None:
        return
    folders = ", ".join(run.record.parameters(ImportSpec).folders)
    said = f", which loaded {code(run.source)}" if run.source else ""
    st.caption(f":material/download_done: Scored elsewhere by lm-eval{said}. Read from {code(folders)}.")
    for problem in run.record.summary["problems"]:
        st.caption(f":material/info: {plain(problem)}")


# --- what visitors say of it ------------------------------------------------------------------------------------


def _label(run: Run) -> None:
    if may_act():
        with st.expander("Name, tags, notes", icon=":material/edit:"):
            label_form(run.id, run.name, run.label, lambda label: save_label(engine(), run, label))
    label_said(run.label)


# --- what is known of it ----------------------------------------------------------------------------------------


def _evaluations(run: Run) -> None:
    if not run.evaluations:
        st.caption("Not scored yet.")
        return
    rows = []
    for scored in run.evaluations:
        accuracy = score_in(scored, run.model)
        rows.append(
            {
                "when": datetime.fromtimestamp(scored.record.created),
                "among": ", ".join(scored.record.summary["models"]),
                "tasks": "" if accuracy is None else accuracy.tasks,
                **accuracy_cells(accuracy),
                "complete": bool(scored.record.summary.get("complete")),
            }
        )
    number = st.column_config.NumberColumn(format="%.1f")
    table(
        "Evaluations",
        "Mean over the tasks of each evaluation, with its 95 % interval over items.",
        pd.DataFrame(rows),
        f"evaluations_{run.id}",
        column_config={"accuracy, %": number, "when": st.column_config.DatetimeColumn(format="D MMM HH:mm")},
    )
    with st.container(horizontal=True):
        for scored, row in zip(run.evaluations[:6], rows, strict=False):
            evaluation_button(scored.record.id, f"Evaluation of {row['when']:%d %b %H:%M}")


def _report(run: Run) -> None:
    if run.folder is not None:
        rows = name_dense_models(conditions.listed(conditions.conditions(read_report(run.folder))), {"value": run})
        table(
            "Settings",
            "Only the settings that this method reads.",
            pd.DataFrame(rows),
            f"settings_{run.id}",
            height=min(38 + 35 * len(rows), 320),
        )
    pruned_report(run)


def _remove(run: Run) -> None:
    inside = run.record is not None and engine().keeps(run.record)
    freed = f"It frees {size(run) / 1e6:,.1f} MB." if inside else "Its folder lies outside the store and is kept."
    if run.kind == "imported":
        freed = "What lm-eval wrote stays where it is. Models that were imported together go together."
    with st.popover("Remove", icon=":material/delete:", key=f"remove_{run.id}"):
        if run.record is None:
            st.caption("No job of this store made this folder, so it is not removed here. Remove the folder itself.")
            return
        if not engine().authorizer.is_theirs_alone(run.record):
            st.caption(NOT_YOURS)
            return
        st.caption(f"Deletes the run with its name, tags and notes. Evaluations are kept. {freed}")
        acting_button("Remove for good", f"remove_now_{run.id}", on_click=remove_run, args=(engine(), run))
