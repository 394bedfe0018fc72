"""What a recording is compared with: the same inputs through random weights, its text noised forward, its ablation."""

import streamlit as st

from analysis.engine import JobRecord
from analysis.jobs import known_key
from analysis.models.checkpoint import find, fingerprint
from analysis.specs import ModelSpec, NoiseSpec, ReferenceSpec, Spec
from pages.parts import permission
from pages.parts.plain import code, plain
from pages.parts.progress import cancel_button, progress_bar
from pages.parts.recordings.recording import BY_KEY, Recording, open_recording
from pages.parts.session import engine, leave, submit
from pages.parts.trouble import EXPECTED, why

_ASKED = "comparison_jobs"
QUICK = 100e6  # bytes of weights up to which the random-weight reference is drawn without being asked for


def why_no_model(recording: Recording) -> str:
    """Why the recorded model cannot be run, or nothing."""
    source = recording.model.source
    try:
        checkpoint = find(source)
    except EXPECTED as error:
        return f"This needs the recorded model. {why(error)}"
    if checkpoint is None:
        return f"This needs the recorded model, and '{source}' is not on this disk. Load it in the sidebar first."
    if fingerprint(checkpoint) != recording.info.model.fingerprint:
        return f"This needs the recorded model, and '{source}' has changed since. Record again to look into it."
    return ""


def at_hand(kind: str, spec: Spec) -> bool:
    """Whether asking starts nothing: the answer is stored, or the job that will give it waits or runs. Raises UserError
    for a bad model source."""
    return engine().knows(kind, known_key(kind, spec))


def ask(kind: str, spec: Spec, what: str, place: str = "", by_hand: bool = False) -> JobRecord | None:
    """The finished job that answers a question, asking it if need be; None while it runs or after it failed.

    by_hand: whether the visitor pressed a button to ask this. Otherwise, of a model that the visitor has not run by
    hand, a question without an answer at hand is not asked: a button offers it, as it may come from a link.
    A question that failed is not asked again by every rerun of the page, only by its button. A question of the same
    kind that this visitor asked before at the same place and that is not answered yet is cancelled: nobody looks at it.
    """
    asked = st.session_state.setdefault(_ASKED, {})
    question = f"{kind}:{place}:{spec.model_dump_json()}"
    for earlier, job_id in asked.items():
        if earlier != question and earlier.startswith(f"{kind}:{place}:"):
            leave(job_id)
    try:
        job = engine().job(asked[question]) if question in asked else None
        may_run = by_hand or permission.allowed(spec.model.source)
        if job is None and not may_run and not at_hand(kind, spec):
            _offer(f"offer_{kind}_{place}", spec.model.source, what)
            return None
        job = job or submit(kind, spec)
    except EXPECTED as error:
        st.error(plain(why(error)))
        return None
    asked[question] = job.id
    if not job.ended:
        follow(job.id, what)
        return None
    if job.state == "done" and engine().result(job) is not None:
        return job
    st.error(plain(job.reason) if job.reason else "This was cancelled, or is no longer in the store.")
    if st.button("Try again", key=f"retry_{job.id}", icon=":material/refresh:"):
        permission.allow(spec.model.source)
        del asked[question]
        st.rerun()
    return None


def _offer(key: str, source: str, what: str) -> None:
    st.caption(f"{plain(what)} takes a run of {code(source)}. It is not in the store yet.")
    st.button("Run", key=key, icon=":material/play_arrow:", on_click=permission.allow, args=(source,))


@st.fragment(run_every=0.4)
def follow(job_id: str, what: str) -> None:
    """A job's progress, with a button to cancel it; the page is drawn again when it has ended."""
    record = engine().job(job_id)
    if record is None or record.ended:
        st.rerun()
    st.caption(plain(what))
    progress_bar(record)
    cancel_button(record, f"cancel_{job_id}")


# --- random weights ---------------------------------------------------------------------------------------------


def reference_toggle(recording: Recording) -> Recording | None:
    """The switch for the random-weight reference, and the reference; None where it is off or not there (yet).

    It is on by default for a small model, whose reference takes a moment.
    """
    source = recording.model.source
    problem = why_no_model(recording)
    wanted = st.toggle(
        "Random-weight reference",
        value=not problem and _is_small(source),
        key="random_reference",
        bind="query-params",
        on_change=permission.allow,
        args=(source,),
        help="The same inputs through the same shape of model with random weights: what untrained attention shows.",
    )
    if not wanted:
        return None
    if problem:
        st.info(plain(problem))
        return None
    spec = _reference_spec(recording, recording.model)
    return _opened(ask("reference", spec, "Observing the same inputs with random weights"))


def stored_reference(recording: Recording) -> Recording | None:
    """The random-weight reference of a recording where it has been observed before; nothing is run."""
    if why_no_model(recording):
        return None
    key = _reference_key(recording, recording.model, recording.info.model.fingerprint)
    return _opened(engine().answered("reference", key))


def _is_small(source: str) -> bool:
    checkpoint = find(source)
    return checkpoint is not None and sum(file.stat().st_size for file in checkpoint.weight_files) <= QUICK


@st.cache_resource(max_entries=16, hash_funcs=BY_KEY, show_spinner=False)
def _reference_spec(recording: Recording, model: ModelSpec) -> ReferenceSpec:
    trajectory = recording.trajectory
    inputs = tuple(trajectory.input_tokens(step) for step in range(trajectory.steps))
    return ReferenceSpec(model=model, inputs=inputs, prompt_length=recording.info.prompt_length)


@st.cache_data(max_entries=64, hash_funcs=BY_KEY, show_spinner=False)
def _reference_key(recording: Recording, model: ModelSpec, content: str) -> str | None:
    """The name of a reference's result. content: the fingerprint of the model there now, on which it depends."""
    return known_key("reference", _reference_spec(recording, model))


# --- noised text ------------------------------------------------------------------------------------------------


def noised(recording: Recording) -> Recording | None:
    """The finished text noised forward, or None while it is not there."""
    spec = NoiseSpec(
        model=recording.model,
        tokens=tuple(recording.trajectory.final.tolist()),
        prompt_length=recording.info.prompt_length,
        step_interval=2,
        seed=recording.job.spec["seed"],
    )
    return _opened(ask("noise", spec, "Observing the noised text"))


def _opened(job: JobRecord | None) -> Recording | None:
    return None if job is None else open_recording(job)
