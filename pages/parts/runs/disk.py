"""Results stored on this disk, their size, and removing them."""

from datetime import datetime

import pandas as pd
import streamlit as st

from analysis.engine.runs import Stored, known_runs, remove, stored_results
from analysis.jobs import JOBS
from pages.parts.acting import acting_button
from pages.parts.charts import table
from pages.parts.progress import job_title
from pages.parts.session import engine

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
