"""Sets of recordings: making them, choosing those to compare, and opening them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine import JobRecord
from analysis.models.checkpoint import checkpoint_of
from analysis.models.registry import BUNDLED_PAIR
from analysis.recording.set_file import RecordingSet, open_set
from analysis.specs import (
    BUNDLED_PROMPTS,
    OWN_PROMPTS,
    SAMPLINGS,
    ModelSpec,
    RecordSetSpec,
    Sampling,
    SetParams,
    SinkParams,
    Spec,
)
from analysis.words import counted, model_title
from pages.parts import address, asking, controls
from pages.parts.asking import begin, starting_button
from pages.parts.controls import Setting, fold, keys_of, settings_of
from pages.parts.plain import model_called, plain
from pages.parts.recordings.choice import among, default_set, sink_controls
from pages.parts.recordings.recording import numbered
from pages.parts.session import EXPECTED, engine, model_in_use, not_in_address, told

_CHOSEN, _ASKED, _ADDRESS = "sets_chosen", "sets_asked", "set"
_OF_OURS, _BENCHMARK = "prompts that come with SinkScope", "a benchmark's contexts"


@dataclass(frozen=True, eq=False)
class OpenSet:
    """A finished job and its set. name: in figures. key: of the job's result."""

    name: str
    job: JobRecord
    key: str
    recordings: RecordingSet


BY_SET = {OpenSet: lambda opened: (opened.key, opened.name)}
"""Cache key of sets."""


def sets_to_look_at(place: DeltaGenerator, instead: Callable[[], bool]) -> list[OpenSet]:
    """Return the chosen sets, opened; draw their choice and the button that records others in `place`. Empty after
    saying on the page why there is none. instead: draws what there is without any set, and returns whether it did.
    """
    jobs = {job.id: job for job in engine().jobs("record_set") if engine().has_result(job)}
    titles = set_titles(list(jobs.values()))
    _take_from_address(jobs)
    _take_finished(jobs)
    among(_CHOSEN, jobs)
    if jobs:
        with place.popover("Models and prompts", icon=":material/playlist_add:", width="stretch"):
            chosen = st.multiselect(
                "Sets of recordings, each one model over many prompts",
                list(jobs),
                key=_CHOSEN,
                persist_state="session",
                on_change=_choose,
                max_selections=6,
                format_func=lambda job_id: titles.get(job_id, job_id),
                placeholder="Choose sets of recordings",
            )
            st.markdown("**Record a set**")
            _ask()
    else:
        chosen = []
        if instead():
            with place.popover("Record prompts", icon=":material/playlist_add:", width="stretch"):
                _ask()
        else:
            st.info(
                "No set of recordings yet. Record many prompts to see which tokens are the sinks of each layer, and "
                "how sinks move."
            )
            _ask()
    _to_address(chosen)
    _follow()
    return [opened for job_id in chosen if (opened := _opened(jobs[job_id], titles[job_id])) is not None]


def set_titles(jobs: list[JobRecord]) -> dict[str, str]:
    """Return the title of each set by id: the model and its prompts, numbered where two read the same."""
    titles = {}
    for job in jobs:
        source = Path(job.spec["model"]["source"])
        name = source.name if source.is_absolute() else model_title(str(source))
        done, planned = job.summary["prompts"], job.summary["planned"]
        titles[job.id] = f"{name} · {done if done == planned else f'{done} of {planned}'} prompts"
    return numbered(titles)


# --- asking -----------------------------------------------------------------------------------------------------


def _ask() -> None:
    """Draw the form and its button. Nothing runs before it is pressed."""
    model = model_in_use()
    sources = BUNDLED_PAIR if model.source in BUNDLED_PAIR else (model.source,)
    kind = SAMPLINGS[_sampler_shown(model)]
    of_set = [name for name in SetParams.model_fields if name != "prompts"]
    of_sampler = [name for name in kind.model_fields if name != "sampler"]
    place, drawn = fold("Settings", "fold_set", _settings(kind, of_set, of_sampler))
    if drawn:
        with place:
            prompts, own = _prompts()
            params = _in_two_columns(SetParams, of_set, "set")
            st.markdown(f"**Sampler** · {plain((kind.__doc__ or '').split(':')[0].strip('.'))}")
            sampler = _in_two_columns(kind, of_sampler, f"set_{kind.__name__}")
            st.markdown("**What counts as a sink**")
            sinks = sink_controls(stacked=True, key="set_")
    else:
        prompts, own, sinks = BUNDLED_PROMPTS, (), SinkParams()
        params = {name: SetParams.model_fields[name].default for name in of_set}
        sampler = {name: kind.model_fields[name].default for name in of_sampler}
    count, random_models = params["count"], params["random_models"]

    def record() -> None:
        specs = [
            RecordSetSpec(
                model=one,
                sampling=_like(SAMPLINGS[_sampler(one)], kind, sampler),
                prompts=prompts,
                own_prompts=own,
                sinks=sinks,
                **params,
            )
            for one in (model.model_copy(update={"source": source}) for source in sources)
        ]
        st.session_state[_ASKED] = [begin("record_set", spec).id for spec in specs]

    number = min(count, len(own)) if prompts == OWN_PROMPTS else count
    starting_button(
        f"Record {plain(counted(number, 'prompt'))}",
        "record_set",
        record,
        type="primary",
        icon=":material/fiber_manual_record:",
    )
    st.caption(
        f"With {' and '.join(model_called(source) for source in sources)}, and "
        f"{counted(random_models, 'random-weight model')} each. Stopped early, a set keeps the prompts that are done."
    )


def _settings(kind: type[Sampling], of_set: Sequence[str], of_sampler: Sequence[str]) -> list[Setting]:
    """Return the settings in the form's fold."""
    words = {"count": "{} prompts", "random_models": "{} random-weight models", "gen_length": "{} new tokens"}
    parts: list[tuple[type[Spec], dict[str, str]]] = [
        (SetParams, keys_of("set", of_set)),
        (kind, keys_of(f"set_{kind.__name__}", of_sampler)),
        (SinkParams, keys_of("set", SinkParams.model_fields)),
    ]
    settings = [Setting("set_prompts", "{}", _OF_OURS, linked=False)]
    for spec, keys in parts:
        settings += settings_of(spec, keys, always=words, words=words, linked=False)
    return settings


def _in_two_columns(spec: type[Spec], names: Sequence[str], key: str) -> dict[str, Any]:
    """Draw fields of a spec and return their values."""
    return controls.draw_each(spec, keys_of(key, names), st.columns(2), persist_state="session")


def _like(sampling: type[Sampling], kind: type[Sampling], values: Mapping[str, Any]) -> Sampling:
    """Return the parameters chosen for the sampler `kind`, as far as `sampling` has them. Raises ValidationError where
    they are incompatible.
    """
    shared = {name: value for name, value in values.items() if sampling is kind or name in sampling.model_fields}
    return sampling(**shared)


def _prompts() -> tuple[str, tuple[str, ...]]:
    """Draw the prompts' choice. Return their source, own ones."""
    kinds = {_OF_OURS: BUNDLED_PROMPTS, "your own": OWN_PROMPTS, _BENCHMARK: _BENCHMARK}
    kind = kinds[st.selectbox("Prompts", list(kinds), key="set_prompts", persist_state="session")]
    if kind == OWN_PROMPTS:
        text = st.text_area("One prompt per line", key="set_own", height=140, persist_state="session")
        own = tuple(line.strip() for line in text.splitlines() if line.strip())
        return OWN_PROMPTS, own
    if kind == _BENCHMARK:
        name = st.text_input("Benchmark", value="bundled_story", key="set_benchmark", persist_state="session")
        return name.strip(), ()
    return BUNDLED_PROMPTS, ()


def _sampler_shown(model: ModelSpec) -> str:
    """Return a model's sampler for the form; errors about a bad source come on submit."""
    try:
        return _sampler(model)
    except EXPECTED:
        return "llada"


def _sampler(model: ModelSpec) -> str:
    """Return a model's sampler; LLaDA's if it is not on this disk. Raises UserError for a bad source."""
    engine().authorizer.check_source(model.source)
    checkpoint = checkpoint_of(model)
    return checkpoint.architecture.sampler if checkpoint is not None else "llada"


# --- following and opening --------------------------------------------------------------------------------------


def _take_from_address(jobs: dict[str, JobRecord]) -> None:
    """Choose the sets in the address, even if others were chosen before; without any keep the choice, else take the
    default set and those of other models on the same prompts.
    """
    named = [job_id for job_id in (address.named(_ADDRESS) or "").split(",") if job_id]
    unknown = [job_id for job_id in named if job_id not in jobs]
    if unknown:
        not_in_address(f"no set of recordings {', '.join(unknown)}.")
    chosen = [job_id for job_id in named if job_id in jobs]
    if not chosen and _CHOSEN in st.session_state:
        return
    if not chosen and jobs:
        default = default_set(list(jobs.values()))
        chosen = [default.id, *_beside(default, jobs)]
        chosen.sort(
            key=lambda job_id: jobs[job_id].spec["model"]["source"] == BUNDLED_PAIR[1]
        )  # the diffusion model first
    if jobs and chosen != st.session_state.get(_CHOSEN):
        st.session_state[_CHOSEN] = chosen


def _choose() -> None:
    """Put the choice in the address before the page is drawn, so that the old one does not undo it."""
    _to_address(st.session_state[_CHOSEN])


def _to_address(chosen: Sequence[str]) -> None:
    if chosen:
        address.write(_ADDRESS, ",".join(chosen))
    else:
        address.drop(_ADDRESS)


def _beside(shown: JobRecord, jobs: dict[str, JobRecord]) -> list[str]:
    """Return the newest set of each other model on the same prompts."""
    same = ("prompts", "own_prompts", "count", "sinks", "seed")
    names: dict[str, str] = {}
    for job in jobs.values():
        source = job.spec["model"]["source"]
        if source != shown.spec["model"]["source"] and all(job.spec[name] == shown.spec[name] for name in same):
            names.setdefault(source, job.id)
    return list(names.values())[:5]


def _take_finished(jobs: dict[str, JobRecord]) -> None:
    """Show the sets this visitor submitted, once all have ended."""
    job_ids = st.session_state.get(_ASKED, [])
    records = [engine().job(job_id) for job_id in job_ids]
    if job_ids and all(record is None or record.ended for record in records):
        done = [job_id for job_id in job_ids if job_id in jobs]
        if done:
            st.session_state[_CHOSEN] = done
            address.write(_ADDRESS, ",".join(done))
        st.session_state[_ASKED] = []
        for record in records:
            if record is not None and record.state != "done":
                st.error(plain(record.reason) or "The recording of a set was cancelled.")


def _follow() -> None:
    for job_id in st.session_state.get(_ASKED, []):
        record = engine().job(job_id)
        if record is not None and not record.ended:
            asking.follow(job_id, f"Recording the prompts with {ModelSpec.model_validate(record.spec['model']).source}")


@told()
def _opened(job: JobRecord, title: str) -> OpenSet | None:
    """Open the set; None after saying on the page why it cannot be."""
    file = engine().result_file(job)
    if file is None or job.key is None:
        st.warning("This set of recordings is no longer in the store. Record it again.")
        return None
    return OpenSet(title.split(" · ")[0], job, job.key, _read(str(file), job.key))


@st.cache_resource(show_spinner="Opening the set of recordings…", max_entries=8)
def _read(path: str, key: str) -> RecordingSet:
    recordings = open_set(Path(path), "The stored set of recordings")
    for values in recordings.arrays.values():
        values.flags.writeable = False
    return recordings
