"""Recording the prompt shown with another model: the autoregressive twin, a pruned copy, the model of the sidebar."""

from dataclasses import dataclass

import streamlit as st

from analysis.engine.runs import known_runs
from analysis.models.checkpoint import find
from analysis.specs import SAMPLINGS, AutoregressiveSampling, ModelSpec, RecordSpec, Sampling
from analysis.words import in_sentence, model_title
from pages.parts import address, permission
from pages.parts.acting import refusable_button
from pages.parts.plain import plain, shortened
from pages.parts.recordings.recording import Recording, finished_recordings, model_name
from pages.parts.recordings.references import seconds_of
from pages.parts.session import engine, model_in_use
from pages.parts.user_errors import EXPECTED

_MOST = 8
TWINS = {"bundled": "bundled-ar", "bundled-ar": "bundled"}


@dataclass(frozen=True)
class _Offer:
    """A model that can record the prompt. title: its name on the button."""

    title: str
    spec: RecordSpec


def record_with(recording: Recording, parameter: str) -> None:
    """Draw the button for the first model that has not recorded the prompt, and a list of the others.

    parameter: the address's parameter for the recording shown beside this one; set to the new recording.
    """
    offers = _offers(recording) if engine().authorizer.may("record") else []
    if not offers:
        return
    if len(offers) == 1:
        _button(offers[0], f"Record with {in_sentence(offers[0].title)}", 0, parameter, recording)
        return
    with st.popover("Record this prompt with…", icon=":material/fiber_manual_record:", width="stretch"):
        for number, offer in enumerate(offers):
            _button(offer, offer.title, number, parameter, recording)


def _button(offer: _Offer, label: str, number: int, parameter: str, recording: Recording) -> None:
    def record() -> None:
        address.write(parameter, permission.begin("record", offer.spec).id)

    refusable_button(
        plain(shortened(label, 60)),
        f"record_with_{number}",
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
        if run.has_masks and run.runs and run.model == shown.source and len(models) < _MOST:
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
        checkpoint = find(model.source, model.paradigm)
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
