"""Making a recording: prompt and example prompts, settings, and objections to them; the same with another model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st
from pydantic import ValidationError

from analysis.engine import JobRecord
from analysis.engine.cost_estimate import duration
from analysis.engine.runs import known_runs
from analysis.models.before_loading import need_of, prompt_tokens, single_token, unknown_words
from analysis.models.checkpoint import Checkpoint, checkpoint_of, describe
from analysis.models.registry import Model
from analysis.recording.fits import planned_seconds
from analysis.recording.trajectory import planned_bytes
from analysis.specs import (
    SAMPLINGS,
    AutoregressiveSampling,
    BlockWriting,
    DiffusionGemmaSampling,
    LLaDASampling,
    ModelSpec,
    RecordSpec,
    Sampling,
    sentence,
)
from analysis.words import in_sentence, model_title
from cache.environment import gigabytes
from pages.parts import controls
from pages.parts.asking import begin, kept_button, may_record
from pages.parts.controls import Fold, fold, keyed_columns, keys_of, settings_of
from pages.parts.plain import as_written, model_called, plain, shortened
from pages.parts.recordings.choice import put_beside, show_anew
from pages.parts.recordings.explorer import play_once
from pages.parts.recordings.measures import seconds_of
from pages.parts.recordings.recording import Recording, finished_recordings
from pages.parts.session import EXPECTED, engine, model_entry, model_in_use, model_name, refusal_kept, say_refusal, told

_FILLED_IN, _PROMPT_OF = "prompt_filled_in", "prompt_of"
_MASK = re.compile(r"[\[<][^\s\[\]<>]*mask[^\s\[\]<>]*[\]>]", re.IGNORECASE)
_SHOWN_WORDS = 6
_SHOWN_WORD = 24  # letters of an unknown one
_SHOWN_LETTERS = 64  # of a prompt in the gallery
_NAMED = 2.0  # seconds from which on a recording says how long it takes


def ask(shown: JobRecord | None, narrow: bool = False) -> None:
    """Draw the prompt with its button, and the settings in a fold. shown: the recording on the page, whose prompt fills
    the box until something else is typed. narrow: beside a recording; example prompts then go into the fold.
    """
    model = model_in_use()
    known = model_entry(model)
    if narrow:
        box, place = st.container(key="ask_prompt"), st.container(key="ask_record")
    else:
        box, place = keyed_columns([6, 1], "ask", vertical_alignment="bottom")
    with box:
        prompt = _prompt(model, known, shown, narrow)
    if not narrow:
        _examples(model, known, narrow)
    sampling_type = _sampling_type(model)
    presets = dict(known.sampling)
    names = ("seed", "chat_template", "mass_dtype", *["observe"] * (sampling_type is DiffusionGemmaSampling))
    in_fold, drawn = _settings_fold(sampling_type, model.source, presets, names)
    problem, sampling = "", None
    chosen = {name: RecordSpec.model_fields[name].default for name in names}
    with in_fold:
        if drawn and narrow:
            _examples(model, known, narrow)
        try:
            if drawn:
                sampling = _sampling(sampling_type, model.source, presets, 1 if narrow else 3)
                columns = [st.container()] * 3 if narrow else st.columns(3)
                chosen = controls.draw_each(
                    RecordSpec, {name: name for name in names}, columns, persist_state="session"
                )
            else:
                sampling = sampling_type.model_validate(presets)
        except ValidationError as error:
            problem = sentence(error)
    examples = "in Settings" if narrow else "below the prompt"
    objection, remarks = _objections(model, prompt, sampling, examples)
    problem = problem or objection
    if problem:
        st.error(plain(problem))
    for remark in remarks:
        st.warning(plain(remark))
    pressed = kept_button(
        "Record",
        "record",
        place,
        type="primary",
        icon=":material/fiber_manual_record:",
        width="stretch",
        disabled=bool(problem) or not may_record(),
    )
    if sampling is not None and not problem:
        (in_fold if narrow else st).caption(_plan(sampling, model, prompt, chosen["seed"], chosen["mass_dtype"]))
        seconds = _seconds(sampling, model, prompt)
        if seconds is not None and (seconds := seconds + engine().seconds_to_start()) >= _NAMED:
            place.caption(f"about {duration(seconds)} on an idle machine")
    if pressed and sampling is not None:
        with told():
            spec = RecordSpec(model=model, prompt=prompt, sampling=sampling, **chosen)
            st.session_state[_FILLED_IN] = prompt
            record = begin("record", spec)
            # At once: a rerun that was asked for meanwhile ends this one at its next message to the browser.
            play_once(record.id)
            show_anew(record.id)
            st.rerun()


def _settings_fold(kind: type[Sampling], source: str, defaults: dict[str, int], names: Sequence[str]) -> Fold:
    """Return the fold of the settings, with the sampler and its settings in the title. names: of those beside the
    sampler's, the seed first.
    """
    keys = keys_of(source, (name for name in kind.model_fields if name != "sampler"))
    words = {"gen_length": "{} new tokens", "steps": "{} steps of time" if kind().open_ended else "{} steps"}
    if any(st.session_state.get(f"{source}_{rule}") is not None for rule in ("threshold", "factor") if rule in keys):
        words["gen_length"] = "{} new tokens, per forward all that are confident enough"
    settings = settings_of(kind, keys, words, words, linked=False, **defaults)
    settings += settings_of(RecordSpec, {name: name for name in names}, ("seed",), linked=False)
    sampler = (kind.__doc__ or "").split(":")[0].strip(".")
    return fold(f"Settings · {sampler}", "fold_record", settings)


# --- the prompt -------------------------------------------------------------------------------------------------


def _prompt(model: ModelSpec, known: Model, shown: JobRecord | None, narrow: bool) -> str:
    key = f"prompt_{model.source}"
    typed = st.session_state.get(key)
    untouched = typed is None or typed == st.session_state.get(_FILLED_IN, known.prompt)
    if shown is not None and shown.id != st.session_state.get(_PROMPT_OF):
        st.session_state[_PROMPT_OF] = shown.id
        if untouched and shown.spec["prompt"]:
            typed = shown.spec["prompt"]
            st.session_state[_FILLED_IN] = typed
    st.session_state[key] = known.prompt if typed is None else typed
    prompt = st.text_area(
        RecordSpec.model_fields["prompt"].title or "Prompt",
        key=key,
        height=130 if narrow else 110,
        persist_state="session",
        help=RecordSpec.model_fields["prompt"].description,
    )
    return prompt


def _examples(model: ModelSpec, known: Model, narrow: bool) -> None:
    """Draw example prompts."""
    key = f"prompt_{model.source}"
    if narrow:
        st.selectbox(
            "Prompts it can follow",
            known.examples(),
            index=None,
            key=f"{key}_example",
            on_change=_take_example,
            args=(key,),
            placeholder="Choose one",
            format_func=as_written,
        )
    else:
        st.pills(
            "Prompts it can follow",
            known.examples(),
            key=f"{key}_example",
            on_change=_take_example,
            args=(key,),
            format_func=lambda text: plain(shortened(text, _SHOWN_LETTERS)),
        )


def _take_example(key: str) -> None:
    chosen = st.session_state.pop(f"{key}_example", None)
    if chosen:
        st.session_state[key] = st.session_state[_FILLED_IN] = chosen


# --- before it is recorded --------------------------------------------------------------------------------------


# What is said of a prompt and its recording stays until they change: the files of the model are not read anew.


@st.cache_data(ttl=60, max_entries=64, show_spinner=False)
def _objections(model: ModelSpec, prompt: str, sampling: Sampling | None, examples: str) -> tuple[str, list[str]]:
    """Return why this cannot be recorded, or '', and remarks on what can be. sampling: None where its parameters
    contradict each other. examples: where example prompts are.
    """
    checkpoint, problem = _checkpoint(model), ""
    if sampling is not None and checkpoint is not None:
        in_blocks = sampling.in_blocks_of(checkpoint.architecture.block_size)
        problem = _misfit(in_blocks, checkpoint, prompt_tokens(checkpoint, prompt))
        if in_blocks.keeps_keys and not checkpoint.architecture.by_blocks and _holds_mask(checkpoint, prompt):
            problem = problem or "The prompt holds [MASK], which no step behind a cache fills. Set the cache to none."
    return problem, _remarks(prompt, model_entry(model), checkpoint, examples)


def _holds_mask(checkpoint: Checkpoint, prompt: str) -> bool:
    """Return whether a prompt holds a mask token, such as [MASK] or <|mask|>, that is one token of the model."""
    return any(single_token(checkpoint, word) is not None for word in set(_MASK.findall(prompt)))


def _remarks(prompt: str, known: Model, checkpoint: Checkpoint | None, examples: str) -> list[str]:
    """Return remarks on a prompt that can be recorded."""
    if not prompt.strip():
        return ["The prompt is empty: the model writes whatever it likes."]
    unknown = unknown_words(checkpoint, prompt) if known.closed and checkpoint is not None else {}
    if not unknown:
        return []
    words = ", ".join(f"‘{shortened(word, _SHOWN_WORD)}’" for word in list(unknown)[:_SHOWN_WORDS])
    more = f" and {len(unknown) - _SHOWN_WORDS} more" if len(unknown) > _SHOWN_WORDS else ""
    meant = [f"‘{spelling}’" for spelling in unknown.values() if spelling]
    hint = f" It does know {', '.join(meant[:_SHOWN_WORDS])}: capital letters count." if meant else ""
    return [
        f"This prompt is outside the small world of this model, which does not know {words}{more}. It reads such words "
        f"letter by letter, and goes on with a story of its own.{hint} Prompts it can follow are {examples}."
    ]


def _misfit(sampling: Sampling, checkpoint: Checkpoint, given: int | None) -> str:
    """Return why a prompt of `given` tokens cannot be recorded with these parameters, or ''."""
    if sampling.keeps_keys and checkpoint.architecture.why_no_cache:
        return checkpoint.architecture.why_no_cache
    if given is None:
        return ""
    most, family = checkpoint.geometry.max_length, checkpoint.architecture
    if given == 0 and (family.noise is None or family.opens_causally):
        return f"The prompt is empty, and {family.name} needs at least one token to go on from. Write a word."
    if given >= most:
        return f"The prompt takes {given:,} tokens and this model no more than {most:,} in all. Shorten it."
    total = sampling.length(given)
    if total > most:
        return (
            f"The prompt takes {given:,} tokens and {total - given:,} would be written; this model takes {most:,} in "
            f"all. At most {most - given:,} new tokens fit."
        )
    return ""


@st.cache_data(ttl=60, max_entries=64, show_spinner=False)
def _plan(sampling: Sampling, model: ModelSpec, prompt: str, seed: int, mass_dtype: str) -> str:
    """Return a sentence on what will be recorded, as Markdown."""
    checkpoint = _checkpoint(model)
    given = prompt_tokens(checkpoint, prompt) if checkpoint is not None else None
    forwards = sampling.forwards()
    planned = getattr(sampling, "steps", forwards if isinstance(sampling, BlockWriting) else sampling.gen_length)
    at_most = sampling.open_ended or isinstance(sampling, BlockWriting)
    rest = f" (the rest of {planned:d} would decide nothing)" if forwards < planned and not at_most else ""
    size = ""
    if sampling.keeps_keys and not isinstance(sampling, BlockWriting):
        size = " Kept keys go stale, so the text differs from the one without a cache."
    if checkpoint is not None and given is not None:
        in_blocks = sampling.in_blocks_of(checkpoint.architecture.block_size)
        megabytes = planned_bytes(in_blocks, checkpoint.geometry, given, 0, mass_dtype) / 1e6
        size += f" The recording takes {'less than' if megabytes < 0.1 else 'about'} {max(megabytes, 0.1):,.1f} MB."
        need = need_of(checkpoint, model, sampling.length(given))
        if need.beside:
            weights, cache, logits = map(gigabytes, (need.weights, need.cache, need.logits))
            size += (
                f" Beside the weights of {plain(weights)} the cache takes {plain(cache)} and the logits of a canvas "
                f"{plain(logits)}: computed from shapes."
            )
    return (
        f"{sampling.gen_length:d} new token{'s' if sampling.gen_length > 1 else ''} in {'at most ' if at_most else ''}"
        f"{forwards:d} forward{'s' if forwards > 1 else ''}{rest} with {model_called(model.source)}, "
        f"seed {seed:d}.{size}"
    )


@st.cache_data(ttl=60, max_entries=64, show_spinner=False)
def _seconds(sampling: Sampling, model: ModelSpec, prompt: str) -> float | None:
    """Return the seconds of a recording's forwards; None where they are not known."""
    checkpoint = _checkpoint(model)
    given = prompt_tokens(checkpoint, prompt) if checkpoint is not None else None
    if checkpoint is None or given is None or sampling.keeps_keys:
        return None
    return planned_seconds(checkpoint, model, sampling.length(given), sampling.forwards())


def _checkpoint(model: ModelSpec) -> Checkpoint | None:
    """Return the model's checkpoint if it is on disk and can run."""
    try:
        return checkpoint_of(model)
    except EXPECTED:
        return None


# --- the settings -----------------------------------------------------------------------------------------------


def _sampling_type(model: ModelSpec) -> type[Sampling]:
    """Return the sampler's parameters for a model; LLaDA's if the hub cannot be reached."""
    sampler = _sampler(model)
    return LLaDASampling if sampler is None else SAMPLINGS[sampler]


@st.cache_data(ttl=60, max_entries=32, show_spinner="Asking what this model is…")
def _sampler(model: ModelSpec) -> str | None:
    try:
        return describe(model).sampler
    except EXPECTED:
        return None


def _sampling(kind: type[Sampling], source: str, defaults: dict[str, int], abreast: int) -> Sampling:
    """Draw the sampler's parameters, so many abreast. Raises ValidationError where they do not fit together."""
    keys = keys_of(source, (name for name in kind.model_fields if name != "sampler"))
    return kind(**controls.draw_each(kind, keys, st.columns(abreast), defaults, persist_state="session"))


_MOST_OFFERED = 8
TWINS = {"bundled": "bundled-ar", "bundled-ar": "bundled"}


@dataclass(frozen=True)
class _Offer:
    """A model that can record the prompt. title: its name on the button."""

    title: str
    spec: RecordSpec


_RECORD_WITH, _CHOICE = "record_with", "record_with_choice"


def record_with(recording: Recording) -> None:
    """Draw the button for the first model that has not recorded the prompt, and a list of the others. The new recording
    stands beside this one.
    """
    offers = _offers(recording) if engine().authorizer.may("record") else []
    say_refusal(_RECORD_WITH)  # a list that is closed would hide it
    if not offers:
        return
    if len(offers) == 1:
        _button(offers[0], f"Record with {in_sentence(offers[0].title)}", 0, recording)
        return
    with st.popover(
        "Record this prompt with…",
        icon=":material/fiber_manual_record:",
        width="stretch",
        key=_CHOICE,
        on_change="rerun",
    ):
        for number, offer in enumerate(offers):
            _button(offer, offer.title, number, recording)


def _button(offer: _Offer, label: str, number: int, recording: Recording) -> None:
    def record() -> None:
        if _CHOICE in st.session_state:
            st.session_state[_CHOICE] = False  # the list closes with its choice
        with refusal_kept(_RECORD_WITH):
            put_beside(begin("record", offer.spec).id)

    st.button(
        plain(shortened(label, 60)),
        key=f"{_RECORD_WITH}_{number}",
        on_click=record,
        icon=":material/fiber_manual_record:" if label.startswith("Record") else None,
        width="stretch",
        help=f"Same prompt, seed and length; {seconds_of(recording)} at this recording's speed, shown beside it.",
    )


def _offers(recording: Recording) -> list[_Offer]:
    """Return the models that can record the prompt too and have not yet."""
    shown = recording.model
    models = (
        {TWINS[shown.source]: shown.model_copy(update={"source": TWINS[shown.source]})} if shown.source in TWINS else {}
    )
    for run in known_runs(engine()) if engine().authorizer.may("run") else ():
        if run.has_masks and run.runs and run.model == shown.source and len(models) < _MOST_OFFERED:
            models[run.name] = shown.model_copy(update={"source": run.source})
    used = model_in_use()
    if engine().authorizer.may("run") and used.source not in {
        shown.source,
        *(model.source for model in models.values()),
    }:
        models[model_name(used.source)] = used
    known = {(job.spec["model"]["source"], job.spec["prompt"], job.spec["seed"]) for job in finished_recordings()}
    offers = []
    for title, model in models.items():
        spec = _spec(recording, model)
        if spec is not None and (model.source, recording.job.spec["prompt"], spec.seed) not in known:
            offers.append(_Offer(model_title(title), spec))
    return offers


def _spec(recording: Recording, model: ModelSpec) -> RecordSpec | None:
    """Return the same prompt and seed for another model, with its own sampler; None if it cannot record them."""
    try:
        request = recording.request()
        engine().authorizer.check_source(model.source)
        checkpoint = checkpoint_of(model)
        if checkpoint is None:
            return None
        sampling = _like(SAMPLINGS[checkpoint.architecture.sampler], request.sampling)
        return RecordSpec(
            model=model,
            prompt=request.prompt,
            sampling=sampling,
            seed=request.seed,
            chat_template=request.chat_template,
        )
    except (TypeError, ValueError, *EXPECTED):
        return None  # noised text and references are no prompts


def _like(kind: type[Sampling], sampling: Sampling) -> Sampling:
    """Return the same sampling; for another sampler, the same number of tokens and all other shared parameters."""
    if isinstance(sampling, kind):
        return sampling
    if kind is AutoregressiveSampling:
        return AutoregressiveSampling(gen_length=sampling.gen_length)
    shared = {name: value for name, value in sampling.model_dump().items() if name in kind.model_fields}
    return kind(**{**shared, "sampler": kind.model_fields["sampler"].default})
