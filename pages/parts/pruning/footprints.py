"""What a pruned checkpoint weighs and how fast it runs beside the dense model; measured when asked for."""

from pathlib import Path

import pandas as pd
import streamlit as st

from analysis.engine import JobRecord
from analysis.jobs import known_key
from analysis.specs import FootprintSpec
from pages.parts.acting import acting_button
from pages.parts.plain import plain
from pages.parts.progress import cancel_button, progress_bar
from pages.parts.session import engine, submit
from pages.parts.user_errors import EXPECTED, why


def footprint_of(record: JobRecord, folder: Path) -> None:
    """The footprint of a finished run, or the button that measures it."""
    st.markdown(
        "**Footprint**",
        help="Weights, bytes and time of the pruned checkpoint beside the dense one. Both models run in turns, so that "
        "what else this machine does weighs on both alike.",
    )
    spec = FootprintSpec(model=record.parameters().model, pruned=str(folder))
    try:
        answer = engine().answered("footprint", known_key("footprint", spec))
    except EXPECTED as error:
        st.caption(plain(why(error)))
        return
    if answer is not None:
        _show(answer.summary["footprint"])
        return
    fields = spec.model_dump(mode="json")
    job = next((job for job in engine().jobs("footprint") if job.spec == fields), None)
    if job is not None and not job.ended:
        _follow(job.id)
        return
    if job is not None and job.reason:
        st.error(plain(job.reason))
    if acting_button("Measure size and speed", key=f"footprint_{record.id}", icon=":material/speed:"):
        try:
            submit("footprint", spec)
        except EXPECTED as error:
            st.error(plain(why(error)))
        else:
            st.rerun()


@st.fragment(run_every=0.5)
def _follow(job_id: str) -> None:
    job = engine().job(job_id)
    if job is None or job.ended:
        st.rerun()
    progress_bar(job)
    cancel_button(job, f"cancel_{job_id}")


def _show(footprint: dict) -> None:
    dense, pruned, speed = footprint["dense"], footprint["pruned"], footprint["speed"]
    rows = [
        ("weights", f"{dense['parameters']:,}", f"{pruned['parameters']:,}"),
        ("of them not zero", f"{dense['nonzeros']:,}", f"{pruned['nonzeros']:,}"),
        ("weights as stored", _megabytes(dense["dense_bytes"]), _megabytes(pruned["dense_bytes"])),
        (
            "in theory, as a bit mask and values",
            _megabytes(dense["bitmask_bytes"]),
            _megabytes(pruned["bitmask_bytes"]),
        ),
    ]
    if speed is not None:
        rows += [
            ("one forward", f"{1000 * speed['dense_seconds']:.1f} ms", f"{1000 * speed['pruned_seconds']:.1f} ms"),
            (
                "tokens per second",
                f"{speed['dense_tokens_per_second']:,.0f}",
                f"{speed['pruned_tokens_per_second']:,.0f}",
            ),
        ]
    st.dataframe(pd.DataFrame(rows, columns=["", "dense", "pruned"]), hide_index=True, width="stretch")
    st.caption(plain(footprint["statement"]))
    if speed is not None:
        st.caption(
            f"{speed['speedup']:.2f}× the dense model's speed, 95 % interval {speed['low']:.2f} to "
            f"{speed['high']:.2f}: "
            f"{speed['repeats']:d} forwards of {speed['sequences']:d} × {speed['tokens']:d} tokens each, "
            f"{plain(speed['dtype'])}, {plain(speed['device_name'])}, {speed['threads']:d} threads."
        )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.2f} MB"
