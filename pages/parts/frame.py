"""The app around every page: navigation and the sidebar, which holds the study, the model in use and the choice of
another, the link to the page, and the jobs.
"""

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.navigation.page import StreamlitPage
from streamlit.runtime.scriptrunner import get_script_run_ctx

from analysis.engine import JobRecord
from analysis.engine.permissions import NOBODY, ONLY_READ
from analysis.figures.style import PAGE_STYLE
from analysis.models.before_loading import need_of
from analysis.models.checkpoint import Checkpoint, checkpoint_of
from analysis.models.registry import MODELS
from analysis.recording.fits import fit_of, offers
from analysis.specs import LoadSpec, ModelSpec, UnloadSpec
from analysis.words import MODEL_TITLES, in_sentence, model_title
from cache.environment import gigabytes
from pages.parts import address, controls, door, guards
from pages.parts.asking import (
    LOOKS_ONLY,
    begin,
    cancel_button,
    job_title,
    log_drawer,
    on_page,
    progress_bar,
    restart_button,
)
from pages.parts.charts import share_panel
from pages.parts.controls import TITLES, keys_of
from pages.parts.plain import code, plain, shortened
from pages.parts.session import (
    EXPECTED,
    LOOK,
    SOON,
    demo_models,
    engine,
    is_verified,
    model_entry,
    model_in_use,
    model_name,
    submit,
    told,
    use_model,
    who,
    why,
    why_no_engine,
)
from pages.parts.study.choice import study_in_hand, study_panel

_DISMISSED, _SHOWN_BUSY = "dismissed_troubles", "shown_busy"
# Seconds. A job that this visitor begins is shown at once (`show_what_began`), others' at the next look.
_IDLE = 2.0
RECENT = 86400  # seconds for which a job that was cut off is shown
SHOWN_TROUBLES = 5


def sidebar(page: StreamlitPage) -> None:
    """Draw the sidebar beside this page."""
    with st.sidebar:
        study_panel()
        model_panel()
        share_panel()
        _jobs_panel(page)


def show_what_began() -> None:
    """Redraw the app if the page started a job after the sidebar said "Idle". Called when the page is drawn."""
    if not st.session_state.get(_SHOWN_BUSY, True) and active_jobs():
        st.rerun()


# --- jobs -------------------------------------------------------------------------------------------------------------


def _jobs_panel(page: StreamlitPage) -> None:
    st.divider()
    st.markdown("**Engine**")
    active = st.session_state[_SHOWN_BUSY] = bool(active_jobs())
    opened = _Opened(page, _page_hash(), st.query_params.to_dict())
    st.fragment(_jobs, run_every=LOOK if active else _IDLE)(active, study_in_hand(), opened)


@dataclass(frozen=True)
class _Opened:
    """The page that was opened last, with the address that opened it. hash: by which browser and server name it."""

    page: StreamlitPage
    hash: str
    query: dict[str, str]

    def hold(self) -> None:
        """Draw this page again where the browser has gone back to another one.

        A slow browser may ask for the sidebar in the name of the page it has just left. It takes the answer for a way
        back, and is left there, or with nothing.
        """
        if _page_hash() != self.hash:
            st.switch_page(self.page, query_params={**self.query, **st.query_params.to_dict()})


def _page_hash() -> str:
    session = get_script_run_ctx()
    return "" if session is None else session.page_script_hash


def active_jobs() -> list[JobRecord]:
    """Return running and queued jobs, oldest first."""
    return [record for record in reversed(engine().jobs()) if not record.ended]


def recent_troubles() -> list[JobRecord]:
    """Return jobs that failed or were interrupted within a day and not run again since, newest first."""
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


def _jobs(was_busy: bool, in_hand: str | None, opened: _Opened) -> None:
    """Draw the jobs. in_hand: the study shown at the top of the sidebar."""
    opened.hold()
    address.keep()
    active = active_jobs()
    if bool(active) != was_busy:
        st.rerun()  # changes the polling rate, and lets every page show finished results
    for notice in engine().notices():
        st.warning(plain(notice))
    running = [record for record in active if record.state == "running" and record.id != in_hand]
    waiting = [record for record in active if record.state == "queued" and record.id != in_hand]
    for record in running:
        where = "between the steps of another job" if record.between else record.device
        _job(record, f" · {plain(where)}" if where else "", "Cancel")
    if len(waiting) == 1:
        _job(waiting[0])
    elif waiting:
        with st.expander(f"{len(waiting)} jobs queued", icon=":material/hourglass_empty:", key="jobs_waiting"):
            for record in waiting:
                _job(record)
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


def _job(record: JobRecord, where: str = "", ends: str = "Remove") -> None:
    """Draw a job's progress. where: it runs. ends: the words on the button that ends it."""
    st.caption(f"**{plain(job_title(record))}**{where}")
    progress_bar(record)
    cancel_button(record, f"stop_{record.id}", ends)


def _trouble(record: JobRecord) -> None:
    reason = plain(record.reason) if record.reason else "SinkScope was stopped while this job ran."
    st.caption(f"**{plain(job_title(record))}** · {plain(record.state)}  \n{reason}")
    if record.traceback:
        with st.popover("Traceback", icon=":material/bug_report:"):
            st.code(record.traceback, language=None)
    log_drawer(record)
    restart_button(record, f"restart_{record.id}")


# --- the model in use ------------------------------------------------------------------------------------------------


_LOADING, _MESSAGE = "loading_job", "model_message"


def model_panel() -> None:
    """Draw the model in use, what is known of it, and the choice of another."""
    used = model_in_use()
    if engine().authorizer.demo:
        _demo_panel(used)
        return
    _named(used)
    if not engine().authorizer.may("run"):
        st.caption(LOOKS_ONLY)
        return
    with st.expander("Change model", expanded=_MESSAGE in st.session_state):
        _offers()
        chosen: str | None = st.selectbox(
            "Model",
            list(MODELS),
            index=None,
            key="model_choice",
            persist_state="session",
            format_func=lambda name: MODEL_TITLES.get(name) or (MODELS[name].source if name in MODELS else name),
            accept_new_options=True,
            placeholder="Name, hub id or folder",
            help="A model of this list, any hub id (owner/name), or a local folder. Names are looked up on this disk "
            "first, then on the Hugging Face hub.",
        )
        about = st.container()
        # The registry's names say how their models were trained.
        typed = chosen is not None and chosen not in MODELS
        keys = keys_of("model", ("device", "dtype", *(("paradigm", "offload") if typed else ())))
        given = controls.draw_each(ModelSpec, keys, [st.container()], bind=None)
        if chosen in MODELS:
            about.caption(MODELS[chosen].summary)
            _fit(chosen, given["device"], given["dtype"], about)
        waits = chosen is None or _LOADING in st.session_state
        name = "" if chosen is None else in_sentence(MODEL_TITLES.get(chosen) or shortened(Path(chosen).name))
        label = f"Load {plain(name)}".strip()
        if st.button(label, key="load_model", type="primary", width="stretch", disabled=waits) and chosen is not None:
            _ask_for(chosen, given)
        if _LOADING in st.session_state:
            _follow_loading(st.session_state[_LOADING])
        message = st.session_state.get(_MESSAGE)
        if message:
            st.error(f"{plain(message)}\n\n{plain(model_title(model_name(used.source)))} stays in use.")
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


def _named(used: ModelSpec) -> None:
    """Draw the name of the model in use, and what it is in a fold."""
    name = model_name(used.source)
    st.markdown("**Model**")
    if name in MODEL_TITLES:
        st.markdown(f":material/deployed_code: :small[{plain(model_title(name))} (included)]")
    else:
        st.markdown(f":material/deployed_code: {code(name)}")
    _about(used)


def _offers() -> None:
    """Offer real models that run on this machine, until one is chosen: a button each, which chooses it."""
    if st.session_state.get("model_choice") is not None:
        return
    told = ""
    for name, sentence in _offered():
        if sentence != told:
            st.caption(plain(sentence))
        told = sentence
        st.button(
            f"Choose {plain(name)}",
            key=f"real_model_{name}",
            width="stretch",
            help=f"{plain(MODELS[name].summary)} *Load* then downloads it from the Hugging Face hub.",
            on_click=lambda name=name: st.session_state.update({"model_choice": name}),
        )


def real_model() -> str:
    """Offer the quickest real model in a sentence; empty where one is in use, or none may be chosen or fits."""
    if engine().authorizer.demo or not engine().authorizer.may("run") or not model_entry(model_in_use()).ships:
        return ""
    for name, sentence in _offered()[:1]:
        return f"{plain(sentence.removesuffix('.'))}: {code(name)}."
    return ""


@st.cache_data(ttl=60, max_entries=1, show_spinner=False)
def _offered() -> list[tuple[str, str]]:
    """Return the names of the two quickest real models, each with its cost."""
    return [(offer.model.name, f"{offer.sentence}.") for offer in offers(2)]


def _fit(name: str, device: str, dtype: str, where: DeltaGenerator) -> None:
    """Say what a model of the registry needs here, before it is downloaded or read."""
    verdict, sentence = _fits(name, device, dtype)
    icon = {"fits": "check_circle", "tight": "warning", "does not fit": "block"}.get(verdict)
    if icon is not None:
        where.caption(f":material/{icon}: {plain(sentence)}")


@st.cache_data(ttl=60, max_entries=128, show_spinner=False)
def _fits(name: str, device: str, dtype: str) -> tuple[str, str]:
    """Return verdict and sentence of a model's fit; empty if its size is unknown."""
    fit = fit_of(MODELS[name], device, dtype)
    return ("", "") if fit is None else (fit.verdict, fit.sentence)


def _demo_panel(used: ModelSpec) -> None:
    """Draw which of a demonstration's two models is in use."""
    models = {spec.source: spec for spec in demo_models()}
    st.session_state["demo_model"] = used.source
    st.segmented_control(
        "Model",
        list(models),
        format_func=lambda source: plain(model_title(source)),
        required=True,
        key="demo_model",
        on_change=lambda: use_model(models[st.session_state["demo_model"]]),
        help="The diffusion model that comes with SinkScope, and its left-to-right twin.",
    )
    _about(used)


def _about(used: ModelSpec) -> None:
    """Draw facts about the model in use, or why it cannot be used."""
    try:
        caveat, facts, remarks = _facts(used)
    except EXPECTED as error:
        st.caption(f":material/error: {plain(why(error))}")
        return
    except LookupError as error:
        st.caption(plain(error))
        return
    if caveat:
        st.caption(f":material/info: {plain(caveat)}")
    with st.expander("About this model"):
        told = {"": [plain(name) for name in facts], " ": [plain(fact) for fact in facts.values()]}
        st.table(told, border="horizontal", hide_index=True, hide_header=True)
        for remark in remarks:
            st.caption(plain(remark))


@st.cache_data(ttl=60, max_entries=32, show_spinner=False)
def _facts(used: ModelSpec) -> tuple[str, dict[str, str], list[str]]:
    """Return a caveat of a model, or '', facts about it by name, and remarks. Raises LookupError with a sentence for a
    model that is not on this disk, and UserError for one that cannot be used.
    """
    checkpoint = checkpoint_of(used)
    if checkpoint is None:
        raise LookupError(
            "It is not on this disk yet and is downloaded from the Hugging Face hub at the first recording."
        )
    known, geometry, architecture = model_entry(used), checkpoint.geometry, checkpoint.architecture
    facts = {
        "Source": f"{known.name}, ships with SinkScope" if known.name in MODEL_TITLES else known.source,
        "Architecture": architecture.name,
        "Attention": architecture.attends,
        "Layers × heads": f"{geometry.layers} × {geometry.heads}",
        "Vocabulary": f"{geometry.vocabulary:,} tokens",
        "Longest text": f"{geometry.max_length:,} tokens",
        **_memory(checkpoint, used),
    }
    return architecture.caveat, facts, list(filter(None, (architecture.note, known.summary)))


def _memory(checkpoint: Checkpoint, used: ModelSpec) -> dict[str, str]:
    """Return the memory that a model with experts or a canvas needs, from its files' headers; {} for any other."""
    if not (checkpoint.geometry.experts or checkpoint.architecture.noise == "uniform"):
        return {}
    try:
        need = need_of(checkpoint, used, 0)
    except EXPECTED:
        return {}
    told = {"Weights (by their shapes)": gigabytes(need.weights), "of which experts": gigabytes(need.experts)}
    if need.logits:
        told["Logits of a canvas (likewise)"] = gigabytes(need.logits)
    return told


def _ask_for(source: str, given: Mapping[str, str]) -> None:
    st.session_state.pop(_MESSAGE, None)
    try:
        spec = ModelSpec.model_validate({"source": source.strip(), **given})
        # Problems with a name or a local folder are shown at once, without a worker.
        engine().authorizer.check_source(spec.source)
        checkpoint_of(spec)
        st.session_state[_LOADING] = begin("load", LoadSpec(model=spec)).id
    except EXPECTED as error:
        st.session_state[_MESSAGE] = why(error)
    st.rerun()


@st.fragment(run_every=SOON)
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


# --- around the page -------------------------------------------------------------------------------------------------


# A file of our own: the browser asks Google's servers for the shape of a `:material/…:` icon of a page.
ICON = Path(__file__).parents[1] / "icon.svg"
STYLE = f"<style>{PAGE_STYLE}{TITLES}\n{Path(__file__).with_suffix('.css').read_text(encoding='utf-8')}</style>"

_mount = st.components.v2.component("sinkscope_frame", js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"))
_inside: ContextVar[bool] = ContextVar("inside_app", default=False)


def show() -> None:
    """Draw navigation and sidebar; then the requested page, or why there is no engine to serve it."""
    st.set_page_config(page_title="SinkScope", page_icon=str(ICON), layout="wide")
    page = st.navigation(_pages())
    st.logo(str(ICON), size="large")
    st.html(STYLE)
    _mount(key="frame", on_lost_change=lambda: None)  # the page is drawn again
    if door.wants_log_in():
        visitor, session = who(), get_script_run_ctx()
        if session is not None:
            guards.allow(session.session_id, visitor.role)
        if visitor == NOBODY:
            _ask_log_in()
            return
    problem = why_no_engine()
    if problem:
        st.title(plain(page.title))
        st.error(plain(problem))
        return
    on_page(page.url_path)
    slides = page.url_path == "" and address.presenting()
    if not slides:
        with told():
            sidebar(page)
        if door.wants_log_in():
            with st.sidebar:
                st.caption(f"Logged in as {plain(st.user.get('email'))}")
                st.button("Log out", on_click=st.logout, key="log_out")
        if engine().authorizer.demo:
            st.container(key="demonstration").caption(f":material/lock: {plain(ONLY_READ)}")
    inside = _inside.set(True)
    try:
        page.run()
    finally:
        _inside.reset(inside)
    if not slides:
        show_what_began()


def _ask_log_in() -> None:
    """Draw the page of a visitor who has not logged in, or is on no list."""
    st.title("SinkScope")
    if st.user.get("is_logged_in"):
        account, problem = plain(st.user.get("email") or "This account"), "is on no list of this server"
        if not is_verified():
            problem = "comes in by no list of this server, as the log-in does not say that the address is verified"
        st.error(f"{account} {problem}. Ask whoever runs it, or log in as somebody else.")
        st.button("Log out", on_click=st.logout, key="log_out")
    else:
        st.caption("This server asks you to log in.")
        st.button("Log in", on_click=st.login, type="primary", key="log_in")


PAGES = {
    "start": "auto_stories",
    "explore": "blur_on",
    "evidence": "timeline",
    "causes": "science",
    "prune": "content_cut",
    "runs": "table_view",
    "sweep": "stacked_line_chart",
}
"""The pages, each of which answers one question, and their icons."""


def _pages() -> list[StreamlitPage]:
    return [
        st.Page(f"pages/{name}.py", title=name.capitalize(), icon=f":material/{icon}:", default=name == "start")
        for name, icon in PAGES.items()
    ]


def run(body: Callable[[], None]) -> None:
    """Run a page's body; or the app around it, where Streamlit opened the page's file on its own: when the first visit
    to a fresh server goes straight to a page's address, before app.py has declared its navigation.
    """
    if _inside.get():
        with told():
            body()
    else:
        show()
