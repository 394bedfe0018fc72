"""One recording, from its text down to a single head, with tabs for views of more than one number per head."""

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine import JobRecord
from analysis.jobs.summaries import RecordPartial
from analysis.specs import DEFINITIONS, DiffusionGemmaSampling, RecordSpec, SinkParams
from analysis.study.findings import Findings
from pages.parts import tokens
from pages.parts.address import link_buttons, restore
from pages.parts.asking import begin, cancel_button, progress_bar, running, visit
from pages.parts.charts import export_button, heading, start_exhibits
from pages.parts.controls import keyed_columns, plots_and_controls
from pages.parts.explore import branches
from pages.parts.explore.asking import ask, record_with
from pages.parts.explore.branches import BENEATH, NEXT, replay
from pages.parts.explore.dynamics import dynamics
from pages.parts.explore.heads import heads
from pages.parts.explore.inside import attention_map, experts, geometry, logit_lens, massive_activations
from pages.parts.explore.writing import exhibit_written, parallel_writing, text
from pages.parts.frame import run
from pages.parts.lazy_section import alone
from pages.parts.plain import plain
from pages.parts.recordings.choice import beside_choice, choose_recording, default_set, opened
from pages.parts.recordings.explorer import NAMED, gone, left, note_drawn, sink_params, split_in, stored_explorer
from pages.parts.recordings.measures import reference_offer
from pages.parts.recordings.recording import Recording, show_recording, shown_recording
from pages.parts.session import SOON, engine, told
from pages.parts.study.choice import example

_SINKS = ("definition", "split", *(row.parameter for row in DEFINITIONS.values()))


@dataclass(frozen=True)
class Tab:
    """A tab under the explorer, of which none is open at first.

    draw: called with the recording, the definition of a sink, the tokens on which sinks are counted, and the place for
    its controls. reads: the explorer's choices that it depends on, by their names in the address.
    """

    draw: Callable[[Recording, SinkParams, str, DeltaGenerator], None]
    reads: tuple[str, ...] = _SINKS


TABS = {
    "Text": Tab(text, ()),
    "Heads": Tab(heads),
    "Dynamics": Tab(dynamics),
    "Parallel writing": Tab(parallel_writing),
    "Attention map": Tab(attention_map, (*_SINKS, "step", "layer", "head")),
    "Experts": Tab(experts),
    "Logit lens": Tab(logit_lens, (*_SINKS, "step")),
    "Massive activations": Tab(massive_activations),
    "Geometry": Tab(geometry, ()),
}
_TAB, _KEPT, _TOP, _TITLE = "tab", "tab_kept", "explore_top", "explore_title"
_ASK, _TO_ASK = "explore_ask", "explore_to_ask"  # the heading of the prompt, and the link to it
_LEFT = 236  # pixels of the prompt's column
# What is asked stands to the left of what is shown, and beneath it where the page is narrow, where a link leads to it.
# On a wide page the title takes no row of its own, and the buttons of the next step stand right of the explorer's
# own, else beneath it.
_STYLE = f"""<style>
@media (min-width:1100px){{
.st-key-columns_{_TOP}>*>[data-testid='stHorizontalBlock']>[data-testid='stColumn']:first-child{{flex:0 0 {_LEFT}px;
width:{_LEFT}px;min-width:0}}
.st-key-columns_{_TOP}>*>[data-testid='stHorizontalBlock']>[data-testid='stColumn']:last-child{{flex:1 1 0;
min-width:0}}
[data-testid='stLayoutWrapper']:is(:has(>.st-key-{_TITLE}),:has(>.st-key-buttons_{NEXT})){{height:0;
margin-bottom:-1rem}}
.st-key-columns_{_TOP}>*>[data-testid='stHorizontalBlock']>[data-testid='stColumn']:first-child{{padding-top:2.8rem}}
.st-key-{_TITLE} h1{{padding:0}}
.st-key-buttons_{NEXT}{{position:relative;top:.25rem;z-index:1;justify-content:flex-end;margin-left:auto;
width:fit-content}}
.st-key-explorer{{--sx-band:2.4rem;--sx-beside:22rem}}
.st-key-columns_{_TOP}>*>[data-testid='stHorizontalBlock']>[data-testid='stColumn']:first-child{{align-self:flex-start;
position:relative;z-index:1}}
.st-key-columns_{_TOP}:not(:has([data-testid='stColumn']:first-child :is(details[open],[data-testid='stAlert'])))
:is(.st-key-explorer,.st-key-shipped_explorer,.st-key-{BENEATH}){{--sx-left:calc({_LEFT}px + 2rem)}}
.st-key-{BENEATH}{{margin-left:calc(-1*var(--sx-left,0px));width:calc(100% + var(--sx-left,0px))}}}}
.st-key-columns_{_TOP} [data-testid='stSelectbox'] input{{text-overflow:ellipsis;font-size:.82rem}}
@media (max-width:1099.9px){{
.st-key-columns_{_TOP}>*>[data-testid='stHorizontalBlock']>[data-testid='stColumn']:first-child>
[data-testid='stVerticalBlock']{{display:grid;grid-template-columns:1fr 1fr;align-items:end;gap:.6rem 1rem}}
[data-testid='stVerticalBlock']:has(>.st-key-ask_prompt)>.st-key-ask_prompt,
[data-testid='stVerticalBlock']>*:has(>.st-key-ask_prompt){{grid-row:span 2}}
.st-key-columns_{_TOP} [data-testid='stColumn']:first-child
[data-testid='stElementContainer']:has([data-testid='stAlert']){{grid-column:1/-1}}}}
@media (max-width:640px){{
.st-key-columns_{_TOP}>*>[data-testid='stHorizontalBlock']>[data-testid='stColumn']:first-child>
[data-testid='stVerticalBlock']>*{{grid-column:1/-1}}}}
@media (max-width:1099.9px){{
.st-key-columns_{_TOP}>*>[data-testid='stHorizontalBlock']>[data-testid='stColumn']:first-child{{order:1}}
[data-testid='stLayoutWrapper']:has(>.st-key-{_ASK}){{grid-column:1/-1}}
[data-testid='stLayoutWrapper']:has(>.st-key-buttons_{NEXT} [data-testid='stPageLink']){{order:1}}
.st-key-explorer~*{{order:2}}}}
@media (min-width:1100px){{
[data-testid='stLayoutWrapper']:is(:has(>.st-key-{_ASK}),:has(>.st-key-{_TO_ASK})){{display:none}}}}
@media (max-width:1099.9px){{
.st-key-columns_{_TOP}>*>[data-testid='stHorizontalBlock']{{flex-wrap:wrap}}
.st-key-columns_{_TOP}>*>[data-testid='stHorizontalBlock']>[data-testid='stColumn']{{min-width:100%}}}}
</style>"""


def main() -> None:
    """Draw the page."""
    st.container(key=_TITLE).title("Explore")
    start_exhibits()
    restore(NAMED, visit(), left())
    record = shown_recording()
    if record is not None and record.state == "done":
        _look_at(record)
        return
    shipped = example() if record is None else None
    if shipped is not None and shipped.explorer:
        _look_at_example(shipped)
        return
    ask(record)
    if record is None:
        st.info("No recording yet. Press **Record**: the text fills in, and its sinks show in every step and head.")
        choose_recording(None)
    elif not record.ended:
        _follow(record.id)
    else:
        _ended_badly(record)


def _look_at_example(study: Findings) -> None:
    """Draw the recordings of the shipped study in the explorer, beside the prompt: nothing has been recorded yet."""
    asked, shown = _columns()
    with asked:
        ask(None, narrow=True)
        choose_recording(None)
    with shown:
        with link_buttons(NEXT):
            st.badge("Shipped study", icon=":material/auto_stories:", color="gray")
        stored_explorer(study.explorer, "shipped_explorer", _on_evidence(study.parameters.model.source))


def _on_evidence(source: str) -> int:
    """Return over how many prompts Evidence shows a model; 0 where it does not."""
    sets = [job for job in engine().jobs("record_set") if engine().has_result(job)]
    if sets:
        own = [job for job in sets if job.spec["model"]["source"] == source]
        return int(default_set(own).summary["prompts"]) if own else 0
    spec = study.parameters if (study := example()) is not None else None
    return spec.prompts if spec is not None and source in {model.source for model in spec.models} else 0


def _columns() -> tuple[DeltaGenerator, DeltaGenerator]:
    """Return the containers of what is asked and of what is shown."""
    st.html(_STYLE)
    st.container(key=_TO_ASK).markdown("[New recording](#new-recording)")
    asked, shown = keyed_columns([1, 3], _TOP, gap="medium")
    asked.container(key=_ASK).markdown("##### New recording")
    return asked, shown


def _look_at(record: JobRecord) -> None:
    """Draw a finished recording in the explorer, with the tabs under it."""
    asked, shown = _columns()
    with asked:
        ask(record, narrow=True)
        chosen = st.container()
        more = st.expander("Compare and share", key="fold_compare", on_change="rerun")
        compare, share = more.container(), more.container()
        with chosen:
            choose_recording(record, share, actions=bool(more.open))
            recording = opened(record)
        if recording is None:
            return
        # Once the fold is open: which models could record the prompt is looked up in every pruned folder.
        beside = beside_choice(recording, branches.parent_of(recording), record_with if more.open else None, compare)
        with compare:
            reference_offer(recording)
    info = recording.info
    if info.unknown_tokens:
        st.warning(
            f"The model does not know {info.unknown_tokens:d} token{'s' if info.unknown_tokens > 1 else ''} of the "
            "prompt and read its unknown token instead."
        )
    if any("\ufffd" in token for token in recording.trajectory.labels(0)[: info.prompt_length]):
        st.warning(
            "The model's vocabulary lacks a character of the prompt, such as an emoji. It reads that as several "
            "tokens, shown as \ufffd."
        )
    note_drawn(())  # the page beneath the explorer is drawn anew
    with shown:
        replay(recording, beside, _on_evidence(recording.model.source))
    names = [name for name in TABS if name != "Experts" or info.model.expert_layers]
    if _TAB not in st.session_state and st.session_state.get(_KEPT) in names and _TAB not in st.query_params:
        st.session_state[_TAB] = st.session_state[_KEPT]  # the tab is not drawn while a recording runs
    if st.query_params.get(_TAB) == "Experts" and "Experts" not in names:
        st.info("This model has no experts. Choose a recording of a mixture of experts.")
    tab = st.segmented_control("More about this recording", names, key=_TAB, bind="query-params")
    st.session_state[_KEPT] = tab
    note_drawn(() if tab is None else TABS[tab].reads)
    _tab(recording, tab)


@alone
def _tab(recording: Recording, name: str | None) -> None:
    """Draw a tab, where one was chosen; its controls redraw only the tab."""
    gone()
    params, split = sink_params(), split_in(recording)
    if name is None:
        exhibit_written(recording)
    else:
        plots, side = plots_and_controls()
        with plots:
            TABS[name].draw(recording, params, split, side)
    settings = {**recording.settings(), "sinks": params.model_dump()}
    export_button(f"SinkScope: {(name or 'recording').lower()}", settings, recording.info.prompt)


# --- following --------------------------------------------------------------------------------------------------


@st.fragment(run_every=SOON)
def _follow(job_id: str) -> None:
    record = running(job_id)
    heading("Recording now", "The text fills in as the model writes it. Shade: the probability of each token.", None)
    progress_bar(record)
    live = engine().progress(job_id).details_as(RecordPartial)
    if live.get("tokens"):
        noise = isinstance(record.parameters(RecordSpec).sampling, DiffusionGemmaSampling)
        chosen = [value is not None for value in live["confidence"]]
        tokens.show(
            tokens.token_text(
                live["tokens"],
                tokens.states_of(live["undecided"], live["prompt_length"]),
                live["confidence"],
                new=chosen,
                open_block=live.get("open_block"),
                random_tokens=noise,
            ),
            tokens.legend(blocks=live.get("open_block") is not None, random_tokens=noise),
        )
    cancel_button(record, "cancel_recording")


def _ended_badly(record: JobRecord) -> None:
    texts = {
        "failed": plain(record.reason) or "The recording failed.",
        "cancelled": "This recording was cancelled.",
        "interrupted": "SinkScope was stopped while this recording ran.",
    }
    (st.error if record.state == "failed" else st.warning)(texts[record.state])
    if record.traceback:
        with st.expander("Traceback"):
            st.code(record.traceback)
    if st.button("Try again", key="try_again", icon=":material/refresh:"):
        with told():
            show_recording(begin("record", record.parameters()).id)
            st.rerun()
    choose_recording(record)


if __name__ == "__main__":
    run(main)
