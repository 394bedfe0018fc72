"""The sidebar of every page: which model is in use, the link to the page, and what the engine is doing."""

import time

import streamlit as st

from analysis.engine import JobRecord
from analysis.engine.demonstration import ONLY_READ
from analysis.models.checkpoint import find
from analysis.models.registry import MODELS
from analysis.specs import LoadSpec, ModelSpec, UnloadSpec
from pages.parts import address, controls, permission
from pages.parts.plain import code, plain
from pages.parts.progress import cancel_button, job_title, log_drawer, progress_bar, restart_button
from pages.parts.session import demo_models, engine, model_in_use, submit, use_model
from pages.parts.share import share_panel
from pages.parts.trouble import EXPECTED, why

_ANOTHER = "another model …"
_LOADING, _MESSAGE = "loading_job", "model_message"
_DISMISSED, _SHOWN_BUSY = "dismissed_troubles", "shown_busy"
# Seconds. A job that this visitor begins is shown at once (`show_what_began`), others' at the next look.
BUSY_REFRESH, IDLE_REFRESH = 1.0, 0.8
RECENT = 86400  # seconds for which a job that was cut off is shown
SHOWN_TROUBLES = 5


def sidebar() -> None:
    """Draws the sidebar."""
    with st.sidebar:
        _model_panel()
        share_panel()
        _jobs_panel()


def _model_panel() -> None:
    used = model_in_use()
    if engine().demo:
        _demo_panel(used)
        return
    if _LOADING not in st.session_state:
        loading = next((job for job in engine().jobs("load") if not job.ended), None)
        if loading is not None:
            st.session_state[_LOADING] = loading.id
    st.markdown("**Model in use**")
    st.markdown(f":material/deployed_code: {code(used.source)}")
    with st.expander("Change model", expanded=_MESSAGE in st.session_state):
        chosen = st.selectbox(
            "Model",
            [*MODELS, _ANOTHER],
            key="model_choice",
            persist_state="session",
            format_func=lambda name: MODELS[name].source if name in MODELS and not name.startswith("bundled") else name,
            help="Names are looked up on this disk first, then on the Hugging Face hub.",
        )
        if chosen == _ANOTHER:
            field = ModelSpec.model_fields["source"]
            chosen = st.text_input(
                "Hub id or folder", key="model_source", placeholder="owner/name or a path", help=field.description
            )
        else:
            st.caption(MODELS[chosen].summary)
        device = controls.draw(ModelSpec, "device", "model_device")
        dtype = controls.draw(ModelSpec, "dtype", "model_dtype")
        # The registry's names say how their models were trained.
        typed = chosen not in MODELS
        paradigm = controls.draw(ModelSpec, "paradigm", "model_paradigm") if typed else "auto"
        if st.button("Load", key="load_model", type="primary", width="stretch", disabled=_LOADING in st.session_state):
            _ask_for(chosen, device, dtype, paradigm)
        if _LOADING in st.session_state:
            _follow_loading(st.session_state[_LOADING])
        message = st.session_state.get(_MESSAGE)
        if message:
            st.error(f"{plain(message)} {plain(used.source)} stays in use.")
        if st.button(
            "Unload",
            key="unload_model",
            width="stretch",
            disabled=not engine().has_worker(),
            help="Frees the memory of the model the worker holds. The next job loads what it needs.",
        ):
            for _ in range(max(1, engine().models_held())):
                submit("unload", UnloadSpec())
            st.rerun()


def _demo_panel(used: ModelSpec) -> None:
    """What a demonstration is, and which of its two models is in use."""
    models = {spec.source: spec for spec in demo_models()}
    st.session_state["demo_model"] = used.source
    st.segmented_control(
        "Model in use",
        list(models),
        format_func=lambda source: plain(source),
        required=True,
        key="demo_model",
        on_change=lambda: use_model(models[st.session_state["demo_model"]]),
        help="The diffusion model that comes with SinkScope, and its autoregressive twin.",
    )
    st.caption(f":material/lock: {plain(ONLY_READ)}")


def _ask_for(source: str, device: str, dtype: str, paradigm: str) -> None:
    st.session_state.pop(_MESSAGE, None)
    try:
        spec = ModelSpec.model_validate(
            {"source": source.strip(), "device": device, "dtype": dtype, "paradigm": paradigm}
        )
        find(
            spec.source, spec.paradigm
        )  # what is wrong with a name or a local folder is said at once, without a worker
        permission.allow(spec.source)
        st.session_state[_LOADING] = submit("load", LoadSpec(model=spec)).id
    except EXPECTED as error:
        st.session_state[_MESSAGE] = why(error)
    st.rerun()


@st.fragment(run_every=0.4)
def _follow_loading(job_id: str) -> None:
    record = engine().job(job_id)
    if record is not None and not record.ended:
        progress_bar(record)
        cancel_button(record, "cancel_loading")
        return
    st.session_state.pop(_LOADING, None)
    if record is not None and record.state == "done":
        use_model(record.parameters(LoadSpec).model)
        loaded = f"{record.summary['architecture']} loaded on {record.summary['device']}."
        st.toast(plain(loaded), icon=":material/check:")
    elif record is not None and record.state != "cancelled":
        st.session_state[_MESSAGE] = record.reason
    st.rerun()


def show_what_began() -> None:
    """Called when the page is drawn: draws the app anew where the page began a job after the sidebar said "Idle"."""
    if not st.session_state.get(_SHOWN_BUSY, True) and active_jobs():
        st.rerun()


def _jobs_panel() -> None:
    st.divider()
    st.markdown("**Engine**")
    active = st.session_state[_SHOWN_BUSY] = bool(active_jobs())
    st.fragment(_jobs, run_every=BUSY_REFRESH if active else IDLE_REFRESH)(active)


def active_jobs() -> list[JobRecord]:
    """Jobs that run or wait, in the order in which they were asked."""
    return [record for record in reversed(engine().jobs()) if not record.ended]


def recent_troubles() -> list[JobRecord]:
    """Jobs that were cut off within a day and not asked again since with better luck, newest first."""
    since = time.time() - RECENT
    answered: list[tuple[str, dict]] = []
    troubles = []
    for record in engine().jobs():
        question = (record.kind, record.spec)
        fresh = record.state in ("failed", "interrupted") and (record.finished or 0) > since
        if fresh and question not in answered and record.id not in _dismissed():
            troubles.append(record)
        answered.append(question)
    return troubles


def _dismissed() -> set[str]:
    return st.session_state.setdefault(_DISMISSED, set())


def _jobs(was_busy: bool) -> None:
    address.keep()
    active = active_jobs()
    if bool(active) != was_busy:
        st.rerun()  # polls faster or slower from here on, and lets every page show what has finished
    for notice in engine().notices():
        st.warning(plain(notice))
    running = [record for record in active if record.state == "running"]
    waiting = [record for record in active if record.state == "queued"]
    for record in running:
        _running(record)
    if len(waiting) == 1:
        _waiting(waiting[0])
    elif waiting:
        with st.expander(f"{len(waiting)} jobs wait", icon=":material/hourglass_empty:", key="jobs_waiting"):
            for record in waiting:
                _waiting(record)
    if not active:
        st.caption(":material/check_circle: Idle. Nothing is running.")
    troubles = recent_troubles()
    if troubles:
        label = f"{len(troubles)} job{'s' if len(troubles) > 1 else ''} cut off"
        with st.expander(label, icon=":material/error:", key="jobs_cut_off"):
            for record in troubles[:SHOWN_TROUBLES]:
                _trouble(record)
            if st.button("Dismiss all", key="dismiss_troubles", type="tertiary"):
                _dismissed().update(record.id for record in troubles)
                st.rerun()


def _running(record: JobRecord) -> None:
    where = "between the steps of another job" if record.between else record.device
    st.caption(f"**{plain(job_title(record))}**{f' · {plain(where)}' if where else ''}")
    progress_bar(record)
    cancel_button(record, f"stop_{record.id}")


def _waiting(record: JobRecord) -> None:
    st.caption(f"**{plain(job_title(record))}**")
    progress_bar(record)
    cancel_button(record, f"stop_{record.id}", "Take out")


def _trouble(record: JobRecord) -> None:
    reason = plain(record.reason) if record.reason else "SinkScope was stopped while this job ran."
    st.caption(f"**{plain(job_title(record))}** · {plain(record.state)}  \n{reason}")
    if record.traceback:
        with st.popover("Traceback", icon=":material/bug_report:"):
            st.code(record.traceback, language=None)
    log_drawer(record)
    restart_button(record, f"restart_{record.id}")
