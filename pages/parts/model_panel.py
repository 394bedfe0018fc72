"""The model in use, in the sidebar of every page: facts about it, and choosing another."""

from collections.abc import Mapping
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.models.before_loading import need_of
from analysis.models.checkpoint import Checkpoint, checkpoint_of
from analysis.models.registry import MODELS
from analysis.recording.fits import fit_of, offers
from analysis.specs import LoadSpec, ModelSpec, UnloadSpec
from analysis.words import MODEL_TITLES, in_sentence, model_title
from cache.environment import gigabytes
from pages.parts import controls
from pages.parts.asking import LOOKS_ONLY, begin, cancel_button, progress_bar
from pages.parts.controls import keys_of
from pages.parts.plain import code, plain, shortened
from pages.parts.session import (
    EXPECTED,
    demo_models,
    engine,
    model_entry,
    model_in_use,
    model_name,
    submit,
    use_model,
    why,
)

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
            placeholder="Choose, or type an id or a path",
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
    for name, sentence in _offered():
        st.caption(plain(sentence))
        st.button(
            f"Choose {plain(name)}",
            key=f"real_model_{name}",
            width="stretch",
            help=f"{plain(MODELS[name].summary)} *Load* then downloads it from the Hugging Face hub.",
            on_click=lambda name=name: st.session_state.update({"model_choice": name}),
        )


def real_model() -> str:
    """Offer the quickest real model in a sentence; empty where the model in use is one, or
    none may be chosen or fits.
    """
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
