"""Choosing a recording and those beside it, any to compare or the autoregressive reference, stepping through it, and
defining a sink: shared by the pages that look at one.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine import JobRecord
from analysis.engine.job_store import Label
from analysis.engine.runs import save_recording_label
from analysis.sinks.intervals import LEAST_PROMPTS
from analysis.sinks.step_inputs import SPLITS, undecided_named
from analysis.specs import DEFINITIONS, AutoregressiveSampling, ModelSpec, RecordSpec, SinkParams
from analysis.words import model_in_words
from pages.parts import address, asking, controls
from pages.parts.address import primary_link, shown_box
from pages.parts.asking import acting_button, may_act, may_record
from pages.parts.charts import download
from pages.parts.controls import keyed_columns
from pages.parts.plain import plain
from pages.parts.recordings.explorer import forget_place
from pages.parts.recordings.recording import (
    Recording,
    finished_recordings,
    forget_shown,
    open_recording,
    recording_title,
    recording_titles,
    show_recording,
    shown_recording,
)
from pages.parts.run_rows import label_form
from pages.parts.session import EXPECTED, engine, model_name, not_in_address, submit, tell, told, why

# On a phone the buttons beside the box show icons alone, so that they stay in its row; their names are still read.
_ROW = "recording_row"
_NARROW_ROW = f"""<style>@media (max-width:640px){{
.st-key-{_ROW}{{gap:.4rem}}
.st-key-{_ROW} [data-testid='stPopoverButton'] [data-testid='stMarkdownContainer']{{position:absolute;width:1px;
height:1px;overflow:hidden;clip-path:inset(50%)}}
}}</style>"""
_TAKEN_IN = "files_taken_in"


def choose_recording(shown: JobRecord | None, more: DeltaGenerator | None = None, actions: bool = True) -> None:
    """Draw a box of all finished recordings; choosing one shows it. more: where its buttons go; None: beside it.
    actions: whether they are seen.
    """
    jobs = finished_recordings()
    if not jobs:
        _open_file()
        return
    st.html(_NARROW_ROW)
    if more is not None:
        box, row = st.container(), more.container(horizontal=True, key=_ROW)
    else:
        row = st.container(horizontal=True, vertical_alignment="bottom", key=_ROW)
        box = row.container()
    if actions:
        with row.popover("Share", icon=":material/share:", width="content"):
            _download(shown)
            _share(shown)
            _open_file()
            _remove(shown)
    _say(row if actions else None, shown)
    with box:
        recording_box(shown, "Recording", narrow=more is not None)


def recording_box(shown: JobRecord | None, label: str, narrow: bool = False) -> None:
    """Draw a box of all finished recordings without their actions; choosing one shows it. narrow: as of
    `recording_titles`.
    """
    titles = recording_titles(finished_recordings(), narrow=narrow)
    current = shown.id if shown is not None and shown.id in titles else None
    shown_box(
        label,
        "recording_choice",
        current,
        titles,
        lambda job: titles.get(job, job),
        show_recording,
        placeholder="Choose a recording",
        help=f"All {len(titles):,}. Type to find one by its prompt, model, name or tag.",
    )


def _say(row: DeltaGenerator | None, shown: JobRecord | None) -> None:
    """Draw name, tags, notes and star of the recording shown, by which the box finds it. row: of the form, where it is
    seen.
    """
    if shown is None or not may_act() or not engine().has_result(shown):
        return
    label = engine().labels().get(shown.id, Label())
    if row is not None:
        automatic = recording_title(shown)
        with row.popover("Tags", icon=":material/label:", width="content"):
            label_form(shown.id, label.name, label, lambda said: save_recording_label(engine(), shown, said, automatic))
    caveat = shown.summary.get("caveat")
    for remark in filter(None, (label.note, caveat)):
        st.caption(plain(str(remark)))


def _download(shown: JobRecord | None) -> None:
    """Draw the download of the recording shown. It opens on any SinkScope, without the model."""
    file = engine().result_file(shown) if shown is not None else None
    if shown is not None and file is not None:
        label = f"Download this recording ({file.stat().st_size / 1e6:.1f} MB)"
        name = f"recording-{shown.id}.safetensors"
        download(label, file.read_bytes, name, "download_recording", width="stretch")


def _share(shown: JobRecord | None) -> None:
    """Draw the switch that lists the recording for this server's other visitors; nothing if there are none."""
    me = engine().authorizer.visitor
    if shown is None or not me.name or me.name not in shown.visitors or not may_record():
        return
    st.session_state[f"shared_{shown.id}"] = shown.shared
    st.toggle(
        "List it for everyone here",
        key=f"shared_{shown.id}",
        help="Else this recording and its prompt are listed to you alone. A link to it opens for everyone.",
        on_change=lambda: engine().share(shown.id, not shown.shared),
    )


def _remove(shown: JobRecord | None) -> None:
    """Draw the button that removes the recording shown from the store, once confirmed."""
    if shown is None or not shown.ended or not engine().has_result(shown):
        return
    sure = st.checkbox("Remove this recording", key=f"sure_{shown.id}", help="Its file is deleted, for everybody.")
    if sure:
        acting_button(
            "Remove it for good",
            f"forget_{shown.id}",
            icon=":material/delete:",
            on_click=_remove_shown,
            args=(shown,),
            width="stretch",
        )


def _remove_shown(job: JobRecord) -> None:
    engine().forget_result(job)
    forget_shown(job.id)


def _open_file() -> None:
    """Take in a recording dropped on the page. The box is then replaced, so that the server frees the bytes."""
    if not may_act():
        return
    taken_in = st.session_state.setdefault(_TAKEN_IN, 0)
    dropped = st.file_uploader(
        "Open a recording",
        type="safetensors",
        key=f"open_recording_{taken_in}",
        help="A file downloaded from any SinkScope. Plots of the recording work without its model.",
    )
    if dropped is None:
        return
    with told():
        job = engine().receive_recording(dropped.getbuffer(), dropped.name)
        st.session_state[_TAKEN_IN] += 1
        show_recording(job.id)
        st.rerun()


def opened(job: JobRecord) -> Recording | None:
    """Open the recording; None after saying on the page why it cannot be."""
    try:
        recording = open_recording(job)
    except EXPECTED as error:
        tell(error)
        acting_button(
            "Remove this recording",
            f"remove_{job.id}",
            icon=":material/delete:",
            on_click=engine().forget_result,  # a new run would find it
            args=(job,),
            help="Its file is deleted. The same prompt can then be recorded again.",
        )
        return None
    if recording is None:
        st.warning("This recording is no longer in the store. Record it again on Explore.")
    return recording


def recording_to_look_at(shows: str = "") -> Recording | None:
    """Draw the box of recordings, and return the one shown; None after saying on the page why there is none.

    shows: a sentence on what the page shows of one, for visitors without any.
    """
    job = shown_recording()
    if job is not None and not job.ended:
        choose_recording(job)
        called = model_in_words(job.spec["model"]["source"])
        asking.follow(job.id, f"Recording with {called}. It is shown here when it is done.")
        return None
    if job is None or job.state != "done":
        st.info(f"There is no recording to look at yet. {shows}".strip())
        primary_link("pages/explore.py", "**Record a prompt**", ":material/play_circle:")
        choose_recording(job)
        return None
    choose_recording(job)
    return opened(job)


def recording_in_hand(shows: str = "") -> Recording | None:
    """Return the recording shown without a box to choose it; where there is none, as `recording_to_look_at`."""
    job = shown_recording()
    if job is None or job.state != "done":
        return recording_to_look_at(shows)
    return opened(job)


def within(key: str, last: int) -> None:
    """Clamp a number kept for a widget to 0 … last, as another recording may be shorter.

    Written only if it is outside: a write overrides what the visitor is just doing.
    """
    if st.session_state.get(key) is not None and not 0 <= st.session_state[key] <= last:
        st.session_state[key] = min(max(st.session_state[key], 0), last)


def among(key: str, options: Collection[Any]) -> None:
    """Drop choices kept for a widget that are no longer options."""
    kept = [choice for choice in st.session_state.get(key, []) if choice in options]
    if key in st.session_state and kept != st.session_state[key]:
        st.session_state[key] = kept


def show_anew(job_id: str) -> None:
    """Show this recording at the step its page begins with, not that of the one before."""
    st.session_state.pop("step", None)
    show_recording(job_id)
    forget_place()


def read_split(key: str, noise: str | None) -> None:
    """Set the split from an address made where undecided tokens have another name, unknown to the widget of this key:
    an address holds what a widget shows. noise: of `Architecture`.
    """
    named = st.query_params.get(key)
    for name in SPLITS if key not in st.session_state else ():
        if named in {name, undecided_named(name, "uniform")} - {undecided_named(name, noise)}:
            st.session_state[key] = name


def why_apart(noise: str | None) -> str:
    """Say why to separate sinks on undecided tokens. noise: of `Architecture`."""
    if noise == "uniform":
        return (
            "Undecided tokens are random ones, drawn anew in every step until they are kept, so look at sinks on them "
            "apart."
        )
    return "Sinks on [MASK] tokens move simply because masks get filled, so look at them apart."


def sink_controls(stacked: bool = False, key: str = "") -> SinkParams:
    """Draw the sink definition and its threshold, side by side or stacked. key: prefix of the widgets' keys if they are
    not the page's; such widgets stay out of the address.
    """
    options: dict[str, Any] = {"persist_state": "session"} if key else {}
    columns = keyed_columns(1 if stacked else 2, f"{key}sink_controls")
    choice, threshold = columns[0], columns[-1]
    with choice:
        definition = controls.draw(
            SinkParams, "definition", f"{key}definition", format_func=lambda name: DEFINITIONS[name].title, **options
        )
    parameter = DEFINITIONS[definition].parameter
    with threshold:
        value = controls.draw_slider(SinkParams, parameter, f"{key}{parameter}", **options)
    return SinkParams(definition=definition, **{parameter: value})


def definition_formula(params: SinkParams) -> str:
    """Return the definition in use, as help text."""
    definition = DEFINITIONS[params.definition]
    threshold = f"{definition.title}, with {getattr(params, definition.parameter):g}."
    return f"A token is a sink when\n\n$${definition.formula}$$\n\n{threshold}"


TWIN = "bundled-ar"
NONE = "none"
_BESIDE = "beside"
_COMPARED, _ADDRESS_READ = "compare_choice", "reference_address_read"


def compared_recordings(recording: Recording) -> list[JobRecord]:
    """Draw the box of other recordings to compare with, and return those chosen."""
    shown = recording.job.id
    jobs = {job.id: job for job in finished_recordings() if job.id != shown}
    titles = recording_titles(list(jobs.values()), short=True)
    if _COMPARED not in st.session_state:
        named = st.query_params.get("compare", "").split(",")
        st.session_state[_COMPARED] = [job_id for job_id in named if job_id in jobs]
        unknown = [job_id for job_id in named if job_id and job_id not in jobs and job_id != shown]
        if unknown:
            not_in_address(f"no recording {', '.join(unknown)} to compare with.")
    among(_COMPARED, jobs)
    chosen = st.multiselect(
        "Compare with",
        list(jobs),
        key=_COMPARED,
        persist_state="session",
        max_selections=8,
        format_func=lambda job_id: titles.get(job_id, job_id),
        placeholder="other recordings",
        help="Recordings of one model become one line with a band; another model gets a line of its own.",
    )
    _to_address("compare", ",".join(chosen))
    return [jobs[job_id] for job_id in chosen]


def autoregressive_reference(recording: Recording) -> JobRecord | None:
    """Draw the box of autoregressive recordings beside a diffusion model's, and return the chosen one.

    One of the same prompt is chosen by default; if there is none, a button records it with the bundled autoregressive
    model. None if none is chosen, while it runs, and beside an autoregressive recording.
    """
    if recording.info.model.mask_token is None:
        return None
    jobs = {job.id: job for job in finished_recordings() if job.spec["sampling"]["sampler"] == "autoregressive"}
    same_prompt = [job_id for job_id, job in jobs.items() if job.spec["prompt"] == recording.job.spec["prompt"]]
    chosen = _choose(recording.job, jobs, same_prompt)
    job = engine().job(chosen) if chosen != NONE else None
    if job is None or job.state == "done":
        return job
    if not job.ended:
        asking.follow(job.id, f"Recording the same prompt with {model_in_words(TWIN)}")
    else:
        st.error(plain(job.reason) or "The left-to-right recording was cancelled.")
    return None


def _choose(shown: JobRecord, jobs: dict[str, JobRecord], same_prompt: list[str]) -> str:
    """Draw the box and the button; return the id of the chosen job, which may still run, or NONE."""
    key = f"reference_{shown.id}"
    wanted = st.session_state.get(key)
    if wanted is None and not st.session_state.get(_ADDRESS_READ):
        wanted = st.query_params.get("reference")
    st.session_state[_ADDRESS_READ] = True
    running = engine().job(wanted) if wanted else None
    titled, options = list(jobs.values()), [NONE, *jobs]
    if running is not None and running.kind == "record" and running.id not in jobs and running.state != "done":
        titled.insert(0, running)  # where it is once it has ended, as widgets keep what is read
        options.append(running.id)
    if wanted not in options:
        if wanted is not None and key not in st.session_state:
            not_in_address(f"no left-to-right recording {wanted}.")
        wanted = same_prompt[0] if same_prompt else NONE
    if st.session_state.get(key) != wanted:
        st.session_state[key] = wanted

    def record_twin() -> None:
        spec = RecordSpec(
            model=ModelSpec(source=TWIN),
            prompt=shown.spec["prompt"],
            sampling=AutoregressiveSampling(gen_length=shown.spec["sampling"]["gen_length"]),
            seed=shown.spec["seed"],
        )
        st.session_state[key] = submit("record", spec).id

    titles = {NONE: "none"} | recording_titles(titled, short=True)
    box, button = st.container(), st.container()
    chosen = box.selectbox(
        "Left-to-right reference",
        options,
        key=key,
        persist_state="session",
        format_func=lambda job_id: titles.get(job_id, job_id),
        help="Any causal language model: load it in the sidebar, record a prompt on Explore, choose it here.",
    )
    if not same_prompt and wanted not in options[len(jobs) + 1 :]:
        acting_button(
            f"Record with {plain(model_in_words(TWIN))}",
            "record_twin",
            button,
            on_click=record_twin,
            icon=":material/fiber_manual_record:",
            width="stretch",
            help=f"Records the same prompt with the left-to-right twin that ships with SinkScope, `{TWIN}`.",
        )
    _to_address("reference", chosen)
    return chosen


def _to_address(name: str, value: str) -> None:
    if value:
        st.query_params[name] = value
    elif name in st.query_params:
        del st.query_params[name]


def put_beside(job_id: str) -> None:
    """Put this recording beside the one shown; NONE puts none."""
    address.write(_BESIDE, job_id)
    if job_id == NONE:
        address.drop("show", stays=True)
    else:
        address.write("show", "both")


def beside_choice(
    recording: Recording, preset: Recording | None, record: Callable[[Recording], None] | None, place: DeltaGenerator
) -> Recording | None:
    """Draw the box of recordings to stand beside this one into a place, and return the one chosen; preset: where none
    was chosen.

    An autoregressive recording of the same prompt is the preset where there is no other. record: draws what records
    another one to put there; it is followed until it is there.
    """
    jobs = {job.id: job for job in finished_recordings() if job.id != recording.job.id}
    if preset is not None:
        jobs[preset.job.id] = preset.job
    same = [job.id for job in jobs.values() if job.spec["prompt"] == recording.job.spec["prompt"]]
    twins = [job_id for job_id in same if jobs[job_id].spec["sampling"]["sampler"] == "autoregressive"]
    wanted = preset.job.id if preset is not None else twins[0] if twins else NONE
    named = address.named(_BESIDE)
    chosen = named if named in (NONE, *jobs) else wanted
    titles = {NONE: "none"} | recording_titles([*jobs.values()], True, recording.job.spec["prompt"])
    with place:
        box, more = st.container(), st.container()
    if record is not None:
        with more:
            record(recording)
    with box:
        shown_box(
            "Side by side with",
            "beside_choice",
            chosen,
            titles,
            lambda job_id: titles.get(job_id, job_id),
            put_beside,
            help="A recording that stands beside this one on the same scale: another model, a pruned copy, another "
            "prompt.",
        )
    running = engine().job(named) if named and named not in titles else None
    if running is not None and running.kind == "record" and not running.ended:
        called = model_in_words(model_name(running.spec["model"]["source"]))
        asking.follow(running.id, f"Recording the prompt with {called}")
    elif running is not None and running.state in ("failed", "cancelled"):
        st.error(plain(running.reason) or "The recording to compare with was cancelled.")
    job = jobs.get(chosen)
    try:
        return None if job is None else open_recording(job)
    except EXPECTED as error:
        st.warning(plain(why(error)))
        return None


def default_set(jobs: Sequence[JobRecord]) -> JobRecord:
    """Return the newest set with enough prompts for a claim, else the largest. jobs: the newest first."""
    enough = (job for job in jobs if job.summary["prompts"] >= LEAST_PROMPTS)
    return next(enough, None) or max(jobs, key=lambda job: job.summary["prompts"])
