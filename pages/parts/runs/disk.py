"""Results on this disk: their size, removing them, and importing what lm-eval wrote."""

from datetime import datetime
from pathlib import Path

import pandas as pd
import streamlit as st

from analysis.engine.runs import Stored, known_runs, remove, stored_results
from analysis.evaluation.lm_eval_results import models_in
from analysis.jobs import JOBS
from analysis.specs import ImportSpec
from pages.parts.acting import acting_button
from pages.parts.charts import table
from pages.parts.controls import draw_list, parts_of
from pages.parts.plain import plain
from pages.parts.progress import cancel_button, job_title, progress_bar
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


_TICKED = "disk_ticked"


def disk() -> None:
    """Draw the list of stored results, and the button that removes ticked ones."""
    with st.expander("Disk use", icon=":material/hard_drive:"):
        everything = stored_results(engine())
        if not everything:
            st.caption("Nothing is stored yet.")
            return
        total = sum(stored.bytes for stored in everything)
        kinds = list(dict.fromkeys(stored.record.kind for stored in everything))
        kind = st.selectbox(
            "Of jobs",
            ["all", *kinds],
            key="disk_kind",
            format_func=lambda name: JOBS[name].title if name in JOBS else name,
            width=320,
        )
        shown = [stored for stored in everything if kind in ("all", stored.record.kind)]
        names = {run.id: run.name for run in known_runs(engine())}
        picked = table(
            f"{_megabytes(sum(stored.bytes for stored in shown))} of {_megabytes(total)}",
            "Results of finished jobs, largest first. Tick rows to remove them. Pruned models stay until then; "
            "everything else is evicted, least recently used first, once the store exceeds its limit.",
            pd.DataFrame(_row(stored, names) for stored in shown),
            f"disk_{kind}_{len(shown)}",
            export=False,
            on_select="rerun",
            selection_mode="multi-row",
            height=min(38 + 35 * len(shown), 320),
            column_config={
                "MB": st.column_config.NumberColumn(format="%.1f"),
                "made": st.column_config.DatetimeColumn(format="D MMM HH:mm"),
                "what": st.column_config.TextColumn(width="large"),
            },
        )
        ticked = [shown[place] for place in picked.selection.rows if place < len(shown)]
        if ticked:
            freed = _megabytes(sum(stored.bytes for stored in ticked))
            with st.popover(f"Remove {len(ticked)} ({freed})", icon=":material/delete:", key=_TICKED):
                st.caption("Removed results have to be computed again. Jobs that asked the same are removed too.")
                acting_button("Remove for good", "disk_remove", on_click=_remove, args=(ticked,))


def _remove(ticked: list[Stored]) -> None:
    remove(engine(), [stored.record for stored in ticked])


def _row(stored: Stored, names: dict[str, str]) -> dict[str, object]:
    what = names.get(stored.record.id)
    return {
        "what": f"{JOBS[stored.record.kind].title} · {what}" if what else job_title(stored.record),
        "model": stored.record.spec.get("model", {}).get("source", ""),
        "MB": stored.bytes / 1e6,
        "made": datetime.fromtimestamp(stored.record.created),
    }


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
