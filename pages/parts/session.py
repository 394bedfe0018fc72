"""State of this server and this visitor: the engine, the visitor's role and jobs, the model in use.

Errors in what a user typed or opened are told in one sentence, the one way in which pages catch errors.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import streamlit as st
from pydantic import ValidationError
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from analysis.engine import Engine, JobRecord
from analysis.engine.permissions import GUEST, NOBODY, OWNER, Visitor
from analysis.engine.runs import known_runs
from analysis.errors import UserError
from analysis.models.registry import BUNDLED_PAIR, MODELS, Model, entry
from analysis.specs import ModelSpec, Spec, sentence
from cache import environment
from cache.opening import StoreError
from cache.store import Store
from pages.parts import door
from pages.parts.plain import plain

EXPECTED = (OSError, ValueError)
"""Errors of opening, reading and validating: UserError, ValidationError and UnicodeError are ValueErrors."""
LOOK, SOON, REDRAW = 1.0, 0.7, 5.0
"""Seconds between looks at how far a job is, at one that the visitor waits for, and between drawings of its results so
far. Each look costs the browser, and so a job beside it on a CPU, some hundredths of a second; a plot that changes is
blank for a moment.
"""
_REFUSED = "refused"
_SHOWN = 120  # characters of a path that are shown


def why(error: Exception) -> str:
    """Return one sentence for the user. Raises the error again if user input did not cause it."""
    match error:
        case UserError() | StoreError():
            return str(error)
        case ValidationError():
            return sentence(error)
        case json.JSONDecodeError():
            return f"This is not readable JSON (line {error.lineno}, column {error.colno})."
        case UnicodeDecodeError() | UnicodeEncodeError():
            return f"This text is not readable as UTF-8 ({error.reason}). Save it as UTF-8 and try again."
        case OSError():
            return _of_system(error)
        case ValueError() if "null" in str(error):
            return "A name or path holds a character (NUL) that no file can have. Type it again."
    raise error


def _of_system(error: OSError) -> str:
    name = error.filename if isinstance(error.filename, str) else ""
    if len(name) > _SHOWN:
        name = f"{name[:_SHOWN]}…"
    reason = os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
    return f"{f'‘{name}’: ' if name else ''}{reason}. Check that it exists and may be read and written."


def tell(error: Exception) -> None:
    """Say an expected error on the page."""
    st.error(plain(why(error)))


@contextmanager
def told() -> Iterator[None]:
    """Wrap code that reads user input: an expected error ends the block and is said on the page."""
    try:
        yield
    except EXPECTED as error:
        tell(error)


@contextmanager
def refusal_kept(place: str) -> Iterator[None]:
    """Wrap a click's callback: an expected error ends the block, and `say_refusal` of the same place says it as the
    page is drawn. place: what was clicked, one name for each.
    """
    try:
        yield
    except EXPECTED as error:
        st.session_state[f"{_REFUSED}_{place}"] = why(error)


def say_refusal(place: str) -> None:
    """Say once why the last click at this place was refused, if it was."""
    message = st.session_state.pop(f"{_REFUSED}_{place}", "")
    if message:
        st.error(plain(message))


def who() -> Visitor:
    """Return the visitor of this script's run; the owner for every other thread, which is the server's own."""
    if get_script_run_ctx(suppress_warning=True) is None:
        return OWNER
    match door.mode():
        case "local":
            return OWNER
        case "demonstration":
            return GUEST
        case "password":
            name = door.cookie_name(st.get_option("server.port"))
            values = door.cookie_values(st.context.headers.get_all("cookie"), name)
            known = next(filter(None, map(door.recognised, values)), None)
            return Visitor(*known) if known else NOBODY
        case _:
            return _logged_in()


def is_verified() -> bool:
    """Return whether the log-in's provider says that the visitor's address is theirs; some say it as text."""
    said = st.user.get("email_verified")
    return door.trusts_addresses() if said is None else said in (True, "true")


def _logged_in() -> Visitor:
    """Return the visitor by the log-in: the role of a listed address, and a name that does not reveal it."""
    if not st.user.get("is_logged_in"):
        return NOBODY
    address = str(st.user.get("email") or "")
    role = door.role_of(address) if is_verified() else ""
    return Visitor(role, hashlib.sha256(address.lower().encode()).hexdigest()[:16]) if role else NOBODY


_MODEL = "model_in_use"


@st.cache_resource(show_spinner=False)
def engine() -> Engine:
    """Return the one engine of this server, shared by all visitors. Raises UserError for an unusable environment, and
    StoreError for a store that cannot be used.
    """
    problems = environment.problems()
    if problems:
        raise UserError(" ".join(problems))
    return Engine(Store(), who=who, serves=True)


def why_no_engine() -> str:
    """Return why there is no engine, or ''. Every rerun tries again."""
    try:
        engine()
    except EXPECTED as error:
        return why(error)
    return ""


def start_engine() -> None:
    """Make the engine as the server starts, so that its queue runs before anyone visits.

    Problems with the store or the environment are logged here, and shown on every page.
    """
    try:
        engine()
    except Exception as error:
        logging.getLogger("sinkscope").error("The job engine did not start: %s", error)


# --- jobs of this visitor ---------------------------------------------------------------------------------------


def visitor() -> str:
    """Return the name of this browser tab's session."""
    context = get_script_run_ctx()
    return context.session_id if context is not None else ""


def is_here(name: str) -> bool:
    """Return whether that visitor's tab is still open."""
    return bool(name) and runtime.exists() and bool(runtime.get_instance().is_active_session(name))


def submit(kind: str, spec: Spec) -> JobRecord:
    """Submit a job in this visitor's name. Raises UserError for a bad model source."""
    return engine().submit(kind, spec, visitor())


def restart(job_id: str) -> JobRecord:
    """Rerun an interrupted job in this visitor's name. Raises UserError if it cannot be."""
    return engine().restart(job_id, visitor())


def leave(job_id: str) -> None:
    """Leave a job in this visitor's name: it stops unless another visitor waits for it."""
    engine().cancel(job_id, visitor(), is_here)


def others_wait(job_id: str) -> bool:
    """Return whether another open tab, of this person or of another, asked for this job."""
    return engine().awaited(job_id, visitor(), is_here)


# --- the model in use -------------------------------------------------------------------------------------------


def model_in_use() -> ModelSpec:
    """Return the model this visitor works with: by the address, else as last chosen, else the bundled one."""
    if _MODEL not in st.session_state:
        st.session_state[_MODEL] = _model_in_address()
    spec: ModelSpec = st.session_state[_MODEL]
    for name, field in ModelSpec.model_fields.items():
        if getattr(spec, name) != field.default:
            st.query_params[name] = getattr(spec, name)
        elif name in st.query_params:
            del st.query_params[name]
    return spec


def _model_in_address() -> ModelSpec:
    """Return the model in the address; the bundled one where none is, or after saying why that cannot be used."""
    named = {name: st.query_params[name] for name in ModelSpec.model_fields if name in st.query_params}
    problem = "a model that this demonstration does not run;"
    try:
        spec = ModelSpec.model_validate(named)
        if not engine().authorizer.demo or spec in demo_models():
            engine().authorizer.check_source(spec.source)
            return spec
    except ValidationError as error:
        problem = f"no such model ({sentence(error)});"
    except EXPECTED as error:
        problem = why(error)
    not_in_address(f"{problem} {ModelSpec().source} is in use instead.")
    return ModelSpec()


def demo_models() -> list[ModelSpec]:
    """Return the models of a demonstration."""
    return [ModelSpec(source=source) for source in BUNDLED_PAIR]


def not_in_address(what: str) -> None:
    """Warn that the address names something missing. what: the rest of the sentence."""
    st.warning(plain(f"The address of this page names what is not here: {what}"))


def use_model(spec: ModelSpec) -> None:
    """Put `spec` into use."""
    st.session_state[_MODEL] = spec


def model_name(source: str) -> str:
    """Return what a model is called: a folder by its run's name, else by its own; any other source as it is."""
    path = Path(source)
    if not path.is_absolute():
        return source
    named = (run.name for run in known_runs(engine()) if run.folder is not None and str(run.folder) == source)
    return next(named, path.name)


def model_entry(spec: ModelSpec) -> Model:
    """Return the registry's entry for a model, or a plain one for a checkpoint it does not list."""
    return entry(spec.source) or Model(spec.source, spec.source, "", prompt=MODELS["llada-8b-base"].prompt)
