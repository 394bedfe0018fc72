"""A token chosen in a recording: its alternatives, and branches that go on from one, beside the original text.

The address names the token, as `picked=RECORDING.STEP.POSITION`, with `.end` where it was chosen in the finished text.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from analysis.engine import JobRecord
from analysis.engine.permissions import refusal, why_not
from analysis.figures.dynamics import curves, lines
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.jobs.summaries import AlternativesSummary
from analysis.models.before_loading import single_token
from analysis.models.checkpoint import checkpoint_of
from analysis.recording.alternatives import Likeness, branch_of, branch_request, deciding_step, likeness
from analysis.recording.trajectory import why_no_branch
from analysis.specs import DEFINITIONS, AlternativesSpec, Branch, SinkParams
from analysis.words import percent
from pages.parts import address, asking, tokens
from pages.parts.address import link_buttons
from pages.parts.asking import allow, begin, kept_button
from pages.parts.charts import PER_CENT_CELLS, chart, heading, put_into_export
from pages.parts.plain import as_written, plain, shortened
from pages.parts.recordings import measures
from pages.parts.recordings.choice import definition_formula, show_anew
from pages.parts.recordings.explorer import (
    NAMED,
    Token,
    explorer,
    explorer_data,
    play_once,
    redraw_beneath,
    sink_params,
    to_play,
)
from pages.parts.recordings.measures import is_small, says_no_model, stored_reference
from pages.parts.recordings.recording import Recording, cached, open_recording
from pages.parts.session import EXPECTED, engine, tell, told

_ADDRESS, _CLICKED = "picked", "token_clicked"


@dataclass(frozen=True)
class Picked:
    """A token. named: as the address has it; of: its recording; step: in which it was chosen, of the finished text the
    last one."""

    named: str
    of: Recording
    step: int
    position: int
    finished: bool


def at_token(recording: str, step: int, position: int, finished: bool) -> dict[str, str]:
    """Return the parameters of Explore's address for a recording with this token chosen. recording: its job's id."""
    named = f"{recording}.{step}.{position}{'.end' if finished else ''}"
    return {"recording": recording, "step": str(step), _ADDRESS: named}


def pick(recording: Recording, step: int, position: int, finished: bool) -> None:
    """Choose a token that this visitor clicked."""
    named = at_token(recording.job.id, step, position, finished)[_ADDRESS]
    address.write(_ADDRESS, named)
    st.session_state[_CLICKED] = named


def click(token: Picked) -> None:
    """Remember that this visitor clicked a token rather than followed a link to it."""
    st.session_state[_CLICKED] = token.named


def was_clicked(token: Picked) -> bool:
    """Return whether this visitor clicked this token last."""
    return bool(st.session_state.get(_CLICKED) == token.named)


def drop() -> None:
    """Clear the choice."""
    st.session_state.pop(_CLICKED, None)
    address.drop(_ADDRESS, stays=True)


def picked(recording: Recording, parent: Recording | None) -> Picked | None:
    """Return the token in the address, else the last one clicked, if it is in one of these recordings."""
    for named in filter(None, (address.named(_ADDRESS), st.session_state.get(_CLICKED))):
        job, *numbers = named.split(".")
        of = next((each for each in (recording, parent) if each is not None and each.job.id == job), None)
        finished = numbers[2:] == ["end"]
        if of is None or len(numbers) != 2 + finished or not all(number.isdecimal() for number in numbers[:2]):
            continue
        step, position = map(int, numbers[:2])
        if step < of.trajectory.steps and position < of.trajectory.positions:
            return Picked(named, of, step, position, finished)
    return None


BENEATH = "beneath_explorer"
"""Key of the container with what can be asked of a token, under the explorer."""
_BOX, _WRITTEN = "denoise_token_box", "denoise_branch_word"
_LISTED = 6  # branches that are linked to


def choose(recording: Recording, step: int, position: int, finished: bool) -> None:
    """Keep a clicked token; a small model computes its alternatives at once."""
    pick(recording, step, position, finished)
    st.session_state.pop(_WRITTEN, None)
    if is_small(recording.model):
        allow(recording.model.source)


# --- alternatives -----------------------------------------------------------------------------------------------


def why_none(recording: Recording) -> str:
    """Return why a recording cannot be branched, or ''."""
    return why_no_branch(recording.info.model.architecture, recording.info.model.noise)


def alternatives(recording: Recording, beside: Recording | None) -> None:
    """Draw the box to choose a token, its alternatives, and the button to go on from one. beside: another recording
    whose tokens can be chosen.
    """
    info = recording.info
    problem = why_none(recording)
    if problem:
        st.caption(plain(problem))
        return
    token = picked(recording, beside)
    _box(recording, token)
    if token is None:
        return
    left, trajectory, position = token.of, token.of.trajectory, token.position
    step = deciding_step(trajectory, token.step, position, token.finished)
    if step is None:
        st.caption(f"Position {position:d} was given by the prompt; nothing was predicted there.")
        return
    kept = trajectory.kept_forward(step)
    if kept is not None and not kept.queries[0] <= position < kept.queries[1]:
        st.caption(f"Position {position:d} did not run in step {step:d}. Choose one of the block that was open.")
        return
    if says_no_model(left):
        return
    word = trajectory.labels(step + 1 if step + 1 < trajectory.steps else None)[position].strip()
    still_open = step == token.step and not token.finished
    heading(
        f"What else could stand at position {position}",
        f"It is undecided in step {step}." if still_open else f"‘{word}’ was written in step {step}.",
        "The model's probabilities at temperature 1, by one forward over the step's input"
        + (", without the recording's guidance." if getattr(info.sampling, "cfg", 0) else "."),
        hint="Choose another token, or write one, and the text is written on from there.",
    )
    question = _asked(left, step, position)
    by_hand = engine().authorizer.demo and was_clicked(token)
    if engine().authorizer.demo and not by_hand and not asking.at_hand("alternatives", question):
        st.button("Read the alternatives", key="read_alternatives", on_click=click, args=(token,))
        return
    job = asking.ask("alternatives", question, "Reading the alternatives", "denoise", by_hand)
    if job is not None:
        _offer(left, step, position, job.summary_as(AlternativesSummary))


def _box(recording: Recording, token: Picked | None) -> None:
    """Draw a box of the written tokens, for visitors who do not use the player."""
    words, prompt = recording.trajectory.labels(), recording.info.prompt_length
    written = [position for position in range(prompt, len(words)) if words[position]]

    def take() -> None:
        position = st.session_state[_BOX]
        if position is not None:
            choose(recording, recording.trajectory.steps - 1, position, finished=True)

    wanted = token.position if token is not None and token.of is recording and token.position in written else None
    called = {position: f"{position} · ‘{words[position].strip() or '␣'}’" for position in written}
    step = None if token is None or token.finished else token.step
    if wanted is not None and step is not None and recording.trajectory.undecided[step, wanted]:
        called[wanted] = recording.trajectory.names.at(step)[wanted].removeprefix("position ")
    st.session_state[_BOX] = wanted
    st.selectbox(
        "Branch from a token",
        written,
        key=_BOX,
        index=None,
        on_change=take,
        format_func=lambda position: as_written(called[position]),
        placeholder="Pin a token, or choose one here",
    )


def _asked(recording: Recording, step: int, position: int) -> AlternativesSpec:
    info, trajectory = recording.info, recording.trajectory
    return AlternativesSpec(
        model=recording.model,
        tokens=trajectory.input_tokens(step),
        position=position,
        prompt_length=info.prompt_length if info.by_blocks else 0,
        block_length=info.block_length,
        open_from=int(trajectory.open_block[step][0]) if info.by_blocks else None,
        kept=trajectory.kept_forward(step),
    )


def _offer(recording: Recording, step: int, position: int, summary: AlternativesSummary) -> None:
    rows = summary["alternatives"]
    here = _written_at(recording, step, position)
    left, right = st.columns([3, 2], gap="large")
    with left:
        event = st.dataframe(
            pd.DataFrame(
                {
                    "token": [row["text"].replace("\n", "⏎").strip() or "␣" for row in rows],
                    "probability": [100 * row["probability"] for row in rows],
                    "": ["as recorded" if row["token"] == here else "" for row in rows],
                }
            ),
            hide_index=True,
            height="content",
            key=f"alternatives_{recording.job.id}_{step}_{position}",
            on_select="rerun",
            selection_mode="single-cell",
            column_config={
                "probability": st.column_config.ProgressColumn(
                    "probability", min_value=0, max_value=100, format=PER_CENT_CELLS, color="primary"
                )
            },
            alt=f"The likeliest tokens at position {position}, with their probabilities.",
        )
    with right:
        typed = st.text_input(
            "Or write a token",
            key=_WRITTEN,
            help="One token of the model's vocabulary. Where its words begin with a space, that may be left out.",
        )
        token, word = None, ""
        if typed:
            token, word = _typed(recording, typed)
        elif event.selection.cells:
            row = rows[event.selection.cells[0][0]]
            token, word = row["token"], row["text"]

        problem = "This is what stands there." if token is not None and token == here else _refused(recording)
        pressed = kept_button(
            plain(
                f"Write ‘{shortened(word.strip() or '␣', 20)}’ from here" if token is not None else "Write from here"
            ),
            "branch",
            icon=":material/call_split:",
            type="primary",
            width="stretch",
            disabled=token is None or bool(problem),
        )
        if pressed and token is not None:
            with told():
                _branch(recording, step, position, token, word)
                st.rerun()
        st.caption(
            plain(problem)
            or "The steps before are repeated with the same seed; this step writes the token, and the model goes on."
        )


def _refused(recording: Recording) -> str:
    """Return why the visitor cannot branch this recording, or ''."""
    if not engine().authorizer.may("record"):
        return why_not(engine().authorizer.visitor)
    waiting = sum(not job.ended for job in engine().jobs())
    return refusal("record", recording.request(), waiting) if engine().authorizer.demo else ""


def _written_at(recording: Recording, step: int, position: int) -> int | None:
    """Return the token that a recorded step decided at a position."""
    trajectory = recording.trajectory
    if step + 1 == trajectory.steps:
        return int(trajectory.final[position])
    return None if trajectory.undecided[step + 1, position] else int(trajectory.tokens[step + 1, position])


def _typed(recording: Recording, word: str) -> tuple[int | None, str]:
    try:
        engine().authorizer.check_source(recording.model.source)
        checkpoint = checkpoint_of(recording.model)
    except EXPECTED as error:
        tell(error)
        return None, ""
    token = single_token(checkpoint, word) if checkpoint is not None else None
    if token is None:
        st.error(plain(f"‘{shortened(word, 40)}’ is no single token of this model. Write another one."))
        return None, ""
    return token


def _branch(recording: Recording, step: int, position: int, token: int, word: str) -> None:
    change = branch_of(recording.trajectory, recording.key, step, position, token, word)
    job = begin("record", branch_request(recording.request(), recording.trajectory, change))
    # At once: a rerun that was asked for meanwhile ends this one at its next message to the browser.
    play_once(job.id)
    show_anew(job.id)
    drop()


# --- a branch and the text it left ------------------------------------------------------------------------------


def parent_of(recording: Recording) -> Recording | None:
    """Return a branch's parent recording, if it is still in the store and can be opened."""
    change = recording.info.branch
    job = None if change is None else engine().answered("record", change.parent)
    try:
        return None if job is None else open_recording(job)
    except EXPECTED:
        return None


def compared(branch: Recording, parent: Recording | None, params: SinkParams) -> None:
    """Draw what a branch has in common with its original text, and links to a recording's branches."""
    change = branch.info.branch
    if change is not None and parent is None:
        heading("A branch", _left(change), None, hint="The text that it left is not in the store.")
    elif change is not None and parent is not None:
        _compare(branch, parent, change, params)
    _links(branch, parent)


def _compare(branch: Recording, parent: Recording, change: Branch, params: SinkParams) -> None:
    like = _likeness(parent, branch, params)
    shared = "" if like.sinks is None else f", and {percent(like.sinks, 0)} of the later sinks are common to both"
    heading(
        "The branch and the text that it left",
        _left(change),
        "Aligned: the F1 of the longest common subsequence of tokens. Common sinks: Jaccard index of the sinks, as "
        "pairs of step and position, of the steps after the branch that both texts have.",
        hint=f"Aligned, both texts have {percent(like.aligned, 0)} of their other {like.compared} new tokens in common "
        f"({percent(like.chance, 0)} if one were in random order); by position "
        f"{percent(like.by_position, 0)}{shared}. This is one "
        "pair of texts with one seed: it shows what this change did, not what such changes do.",
    )
    start = branch.info.prompt_length
    for column, name, each, kept in zip(
        st.columns(2), ("The text it left", "The branch"), (parent, branch), like.kept, strict=True
    ):
        with column:
            st.markdown(f"**{plain(name)}**")
            tokens.show(
                tokens.changed_text(
                    each.trajectory.labels()[start:],
                    kept[start:].tolist(),
                    change.position - start if each is branch else None,
                )
            )
    left, right = st.columns(2, gap="large")
    agreement = {"aligned": like.aligned_by_step, "by position": like.by_step}
    with left:
        chart(
            Exhibit(
                "How far the two texts agree",
                "Aligned: of what each text has decided before a step, the share that stands in both in the same "
                "order. By position: of the tokens that both have decided, the share that is the same. The line is the "
                "branch.",
                curves(lines(agreement), "step", "agreement", change.step, percent=True),
                pd.DataFrame({"step": np.arange(len(like.by_step)), **agreement}),
                formula="Aligned is the F1 of the longest common subsequence of tokens. The prompt and the token "
                "written by hand are left out.",
                finding=finding_of("branch agreement", like.by_step, change.step, like.aligned, like.chance),
            ),
            "branch_agreement",
        )
    pairs = {"the text it left": parent, "the branch": branch}
    strength = {name: measures.curve(each, "strength", params) for name, each in pairs.items()}
    with right:
        chart(
            Exhibit(
                "How much attention sinks take in both",
                "Share of all attention that goes to the sinks of a step.",
                curves(lines(strength), "step", "attention to sinks", change.step, percent=True),
                pd.DataFrame({name: pd.Series(values) for name, values in strength.items()})
                .rename_axis("step")
                .reset_index(),
                formula=definition_formula(params),
                finding=finding_of("branch sinks", *strength.values(), change.step),
            ),
            "branch_sinks",
        )


@cached(16)
def _likeness(parent: Recording, branch: Recording, params: SinkParams) -> Likeness:
    change = branch.info.branch
    assert change is not None
    flags = [measures.sinks(each, params) for each in (parent, branch)]
    return likeness(parent.trajectory, branch.trajectory, flags[0], flags[1], change.step, change.position)


def _left(change: Branch) -> str:
    return f"Step {change.step} wrote ‘{change.word.strip() or '␣'}’ at position {change.position}."


def _links(recording: Recording, parent: Recording | None) -> None:
    """Draw buttons that open the original text and the newest branches of this one. They are not links: a link to what
    was shown just before looks the same as a refresh under way.
    """
    if parent is not None:
        _opens(parent.job, "Open the text that it left", ":material/undo:")
    jobs = [job for job in engine().jobs("record") if (job.spec.get("branch") or {}).get("parent") == recording.key]
    for job in [job for job in jobs if engine().has_result(job)][:_LISTED]:
        change = job.spec["branch"]
        label = f"Branch: ‘{shortened(change['word'].strip(), 16)}’ in step {change['step']}"
        _opens(job, plain(label), ":material/call_split:")


def _opens(job: JobRecord, label: str, icon: str) -> None:
    if st.button(label, key=f"open_{job.id}", icon=icon, type="tertiary", on_click=_open, args=(job.id,)):
        st.rerun()  # of the whole page, not of its fragment alone


def _open(job_id: str) -> None:
    show_anew(job_id)
    drop()


NEXT = "explore_next"
"""Row of buttons for the sinks shown."""
_DEFINITION = ("definition", *(row.parameter for row in DEFINITIONS.values()))


@st.fragment
def replay(recording: Recording, beside: Recording | None, prompts: int) -> None:
    """Draw the explorer with the buttons for its sinks, and beneath it what a chosen token leads to. prompts: over how
    many Evidence shows the model.
    """
    address.keep()
    change, parent = recording.info.branch, parent_of(recording)

    def chosen_token(token: Token) -> None:
        of = recording if token["track"] == 0 else beside
        if of is not None:
            choose(of, token["step"], token["position"], token["finished"])

    named = tuple((name, str(st.query_params[name])) for name in NAMED if name in st.query_params)
    shown = beside if beside is not None and address.named("show") == "second" else recording
    _hand_over(shown, {name: value for name, value in named if name in _DEFINITION})
    explorer(
        recording,
        "explorer",
        beside,
        play=to_play(recording),
        play_from=None if change is None else change.step,
        on_token=chosen_token if why_none(recording) == "" else None,
        prompts=prompts,
    )
    redraw_beneath()
    drawn = stored_reference(recording)  # read here: an export is made where no visitor is known
    exhibit = Exhibit(
        "The recording, step by step",
        "Pin a token, head or step to follow it; drag to select steps and positions.",
        explorer=lambda: explorer_data(recording, beside, drawn, named),
    )
    put_into_export(exhibit, "explorer")
    with st.container(key=BENEATH):
        alternatives(recording, beside)
        compared(recording, parent, sink_params())


def _hand_over(recording: Recording, definition: dict[str, str]) -> None:
    """Draw the buttons for what can be done with these sinks, by the definition that the explorer shows."""
    with link_buttons(NEXT):
        st.page_link(
            "pages/causes.py",
            label="**Hide these sinks**",
            icon=":material/visibility_off:",
            query_params={"recording": recording.job.id, "causes_view": "One prompt", **definition},
            help="Writes the prompt's text again while no token attends to the sinks of each step. "
            + (
                "They are those shown of the whole model."
                if recording.trajectory.pattern.is_even
                else "There they are judged on raw attention, so some differ from those shown."
            ),
        )
        st.page_link(
            "pages/prune.py",
            label="**Discount these sinks**",
            icon=":material/content_cut:",
            query_params={
                "source": recording.model.source,
                "prune_sink_std": definition.get("k", f"{sink_params().k:g}"),
            },
            help="Prunes with weights that count less where only sinks use them, from the same threshold k.",
        )
