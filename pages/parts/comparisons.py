"""What a recording is compared with: the same inputs through random weights, its text noised forward, its ablation."""

import streamlit as st

from analysis.engine import JobRecord
from analysis.errors import UserError
from analysis.models.checkpoint import find, fingerprint
from analysis.specs import NoiseSpec, ReferenceSpec, Spec
from analysis.trajectory import Trajectory
from pages.parts.progress import cancel_button, progress_bar
from pages.parts.session import engine, open_recording, plain

_ASKED = "comparison_jobs"


def why_no_model(trajectory: Trajectory, source: str) -> str:
    """Why the recorded model cannot be run, or nothing."""
    try:
        found = find(source)
    except UserError as error:
        return f"This needs the recorded model. {error}"
    if found is None:
        return f"This needs the recorded model, and '{source}' is not on this disk. Load it in the sidebar first."
    if fingerprint(found) != trajectory.info.model.fingerprint:
        return f"This needs the recorded model, and '{source}' has changed since. Record again to look into it."
    return ""


def ask(kind: str, spec: Spec, what: str) -> JobRecord | None:
    """The finished job that answers a question, asking it if need be; None while it runs or after it failed.

    A question that failed is not asked again by every rerun of the page, only by its button. A question of the same
    kind that this visitor asked before and that is not answered yet is cancelled: nobody looks at it any more.
    """
    asked = st.session_state.setdefault(_ASKED, {})
    question = f"{kind}:{spec.model_dump_json()}"
    for earlier, job_id in asked.items():
        if earlier != question and earlier.startswith(f"{kind}:"):
            engine().cancel(job_id)
    try:
        job = engine().job(asked[question]) if question in asked else None
        job = job or engine().submit(kind, spec)
    except UserError as error:
        st.error(str(error))
        return None
    asked[question] = job.id
    if not job.ended:
        _waiting(job.id, what)
        return None
    if job.state == "done" and engine().result(job) is not None:
        return job
    st.error(plain(job.reason) if job.reason else "This was cancelled, or is no longer in the store.")
    if st.button("Try again", key=f"retry_{job.id}", icon=":material/refresh:"):
        del asked[question]
        st.rerun()
    return None


@st.fragment(run_every=0.4)
def _waiting(job_id: str, what: str) -> None:
    record = engine().job(job_id)
    if record is None or record.ended:
        st.rerun()
    st.caption(what)
    progress_bar(record)
    cancel_button(record, f"cancel_{job_id}")


def random_reference(record: JobRecord, trajectory: Trajectory) -> tuple[Trajectory, str] | None:
    """The random-weight reference of a recording and its key, or None while it is not there."""
    inputs = tuple(trajectory.input_tokens(step) for step in range(trajectory.steps))
    spec = ReferenceSpec(model=record.parameters().model, inputs=inputs, prompt_length=trajectory.info.prompt_length)
    return _opened(ask("reference", spec, "Observing the same inputs with random weights"))


def noised(record: JobRecord, trajectory: Trajectory) -> tuple[Trajectory, str] | None:
    """The finished text noised forward, and its key, or None while it is not there."""
    spec = NoiseSpec(
        model=record.parameters().model,
        tokens=tuple(trajectory.final.tolist()),
        prompt_length=trajectory.info.prompt_length,
        step_interval=2,
        seed=record.spec["seed"],
    )
    return _opened(ask("noise", spec, "Observing the noised text"))


def _opened(job: JobRecord | None) -> tuple[Trajectory, str] | None:
    trajectory = open_recording(job) if job is not None else None
    return None if trajectory is None or job is None else (trajectory, job.key or "")
