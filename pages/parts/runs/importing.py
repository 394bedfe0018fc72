"""Import of lm-eval results: a folder, and the progress of reading it."""

from pathlib import Path

import streamlit as st

from analysis.evaluation.lm_eval_results import models_in
from analysis.specs import ImportSpec
from pages.parts.acting import acting_button
from pages.parts.controls import draw_list, parts_of
from pages.parts.plain import plain
from pages.parts.progress import cancel_button, progress_bar
from pages.parts.session import engine, submit

REFRESH = 1.0  # seconds between looks
_FOLDER, _MINE = "import_folder", "imports_asked"
_LISTED = ("filters", "metrics")


def import_runs() -> None:
    """Draw the field and, during an import, its progress."""
    with st.expander("Import lm-eval results", icon=":material/upload_file:", key="import_drawer"):
        st.caption(
            "A folder that lm-eval wrote with --output_path and --log_samples, on any machine. Its models become runs, "
            "compared with others on the items that both were asked. Nothing in it is executed."
        )
        # Neither is from the address: a link must not choose what is read from this disk.
        left, *others = st.columns([3, 1, 1])
        left.text_input("Folder of results", key=_FOLDER, placeholder="/path/to/output", persist_state="session")
        for column, name in zip(others, _LISTED, strict=True):
            example = "the first" if name == "filters" else "acc, exact_match"
            draw_list(ImportSpec, name, f"import_{name}", column, placeholder=example, persist_state="session")
        acting_button("Import", "import_start", icon=":material/upload_file:", on_click=_ask)
        _under_way()


def _ask() -> None:
    """Submit each folder of results by itself, as models scored on other tasks share no items. A callback, so that no
    rerun loses the click.
    """
    listed = {name: parts_of(st.session_state[f"import_{name}"]) for name in _LISTED}
    written = st.session_state[_FOLDER].strip()
    engine().authorizer.check_folder(written)
    folders = dict.fromkeys(str(model.folder) for model in models_in(Path(written or "no folder")))
    st.session_state[_MINE] = [submit("import", ImportSpec(folders=(folder,), **listed)).id for folder in folders]


def _under_way() -> None:
    records = [record for job in st.session_state.get(_MINE, ()) if (record := engine().job(job)) is not None]
    if any(not record.ended for record in records):
        st.fragment(_progress, run_every=REFRESH)()
        return
    for record in records:
        if record.state == "failed":
            st.error(plain(record.reason))
    read = sum(record.state == "done" for record in records)
    if read:
        st.caption(f":material/check_circle: {read} folder{'s were' if read > 1 else ' was'} read; see the table.")


def _progress() -> None:
    running = [record for job in st.session_state.get(_MINE, ()) if (record := engine().job(job)) and not record.ended]
    if not running:
        st.rerun()
    for record in running:
        progress_bar(record)
        cancel_button(record, f"cancel_{record.id}")
