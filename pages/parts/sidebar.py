"""The sidebar of every page: which model is in use, and what the engine is doing."""

import streamlit as st
from pydantic import ValidationError

from analysis.engine import JobRecord
from analysis.errors import UserError
from analysis.jobs import JOBS
from analysis.models.checkpoint import find
from analysis.models.registry import MODELS
from analysis.specs import LoadSpec, ModelSpec, UnloadSpec, sentence
from pages.parts import controls
from pages.parts.progress import cancel_button, progress_bar
from pages.parts.session import engine, model_in_use, plain, use_model

_ANOTHER = "another model …"
_LOADING, _MESSAGE = "loading_job", "model_message"
BUSY_REFRESH = 1.0  # seconds


def sidebar() -> None:
    """Draws the sidebar."""
    with st.sidebar:
        _model_panel()
        _jobs_panel()


def _model_panel() -> None:
    used = model_in_use()
    if _LOADING not in st.session_state:
        loading = next((job for job in engine().jobs("load") if not job.ended), None)
        if loading is not None:
            st.session_state[_LOADING] = loading.id
    st.markdown("**Model in use**")
    st.markdown(f":material/deployed_code: `{used.source}`")
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
        if st.button("Load", key="load_model", type="primary", width="stretch", disabled=_LOADING in st.session_state):
            _ask_for(chosen, device, dtype)
        if _LOADING in st.session_state:
            _follow_loading(st.session_state[_LOADING])
        message = st.session_state.get(_MESSAGE)
        if message:
            st.error(f"{plain(message)} {plain(used.source)} stays in use.")
        if st.button(
            "Unload", key="unload_model", width="stretch", disabled=not engine().has_worker(),
            help="Frees the memory of the model the worker holds. The next job loads what it needs.",
        ):  # fmt: skip
            engine().submit("unload", UnloadSpec())
            st.rerun()


def _ask_for(source: str, device: str, dtype: str) -> None:
    st.session_state.pop(_MESSAGE, None)
    try:
        spec = ModelSpec(source=source.strip(), device=device, dtype=dtype)
        find(spec.source)  # what is wrong with a name or a local folder is said at once, without a worker
        st.session_state[_LOADING] = engine().submit("load", LoadSpec(model=spec)).id
    except ValidationError as error:
        st.session_state[_MESSAGE] = sentence(error)
    except UserError as error:
        st.session_state[_MESSAGE] = str(error)
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
        use_model(record.parameters().model)
        st.toast(f"{record.summary['architecture']} loaded on {record.summary['device']}.", icon=":material/check:")
    elif record is not None and record.state != "cancelled":
        st.session_state[_MESSAGE] = record.reason
    st.rerun()


def _jobs_panel() -> None:
    st.divider()
    st.markdown("**Engine**")
    active = bool(active_jobs())
    st.fragment(_jobs, run_every=BUSY_REFRESH if active else None)(active)


def active_jobs() -> list[JobRecord]:
    """Jobs that run or wait, oldest first."""
    return [record for record in reversed(engine().jobs()) if not record.ended]


def _jobs(was_busy: bool) -> None:
    active = active_jobs()
    if not active and was_busy:
        st.rerun()  # ends the polling, and lets every page show what has finished
    if not active:
        st.caption(":material/check_circle: Idle. Nothing is running.")
        return
    for record in active:
        st.caption(f"{JOBS[record.kind].title} · {record.state}")
        progress_bar(record)
