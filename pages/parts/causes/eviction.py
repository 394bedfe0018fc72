"""The eviction over a set of prompts: its settings, agreement against bytes kept, policies against their controls."""

from collections.abc import Mapping
from typing import Any

import streamlit as st
from pydantic import ValidationError
from streamlit.delta_generator import DeltaGenerator

from analysis.engine import JobRecord
from analysis.evaluation.eviction_effects import TESTED
from analysis.evaluation.eviction_exhibits import conditions, effects_of, frontier_of, means, single_prompts, words_of
from analysis.specs import POLICIES, EvictSpec, SinkParams, keepings
from analysis.specs import sentence as problem_sentence
from cache.keys import content_key
from pages.parts import asking
from pages.parts.acting import acting_button
from pages.parts.causes.prompt_box import prompt_box
from pages.parts.charts import show, table
from pages.parts.plain import code, plain
from pages.parts.recordings import references
from pages.parts.recordings.recording import Recording
from pages.parts.recordings.references import seconds_of

_ASKED = "evict_asked"
_BUDGETS = tuple(round(0.1 * tenth, 1) for tenth in range(1, 10))  # offered on the page; the command takes any
_FORWARDS = 3  # of each text: an untouched one, one on the full run's inputs, one for its own text


def eviction_over_prompts(recording: Recording, params: SinkParams, side: DeltaGenerator) -> None:
    """Draws the view; its controls in `side`. Model, sampler and seed are those of the recording shown."""
    st.caption(
        "How much of the cache does the model need, and is it the sinks? Each prompt is written again with a share of "
        "the keys and values, and with random positions of the same state. Model, sampler and seed are those of the "
        "recording above."
    )
    problem = references.why_no_model(recording)
    if problem:
        st.info(plain(problem))
        return
    with side:
        place = st.container()  # above what is asked, as it is in view
        spec = _spec(recording, params)
        if spec is None:
            return
        question = content_key(spec=spec.model_dump(mode="json"))[:12]
        if acting_button("Run eviction", "run_evict", place, icon=":material/science:", type="primary"):
            st.session_state[_ASKED] = question
    by_hand = st.session_state.get(_ASKED) == question
    if not by_hand and not asking.at_hand("evict", spec):
        st.info("Not run yet. Press **Run eviction**: agreement shows as prompts finish.")
        written = len(spec.prompts) * len(keepings(spec))
        share = _FORWARDS * written
        st.caption(
            f"Writes {written:,} texts, in batches where keys are hidden. One after another they would take "
            f"{seconds_of(recording, share)}, by the time of recording one."
        )
        return
    what = f"Evicting over {len(spec.prompts)} prompts"
    job = asking.ask("evict", spec, what, by_hand=by_hand, meanwhile=_so_far)
    if job is not None:
        _finished(job, spec)


def eviction_shown(job: JobRecord) -> None:
    """Draws a finished eviction with what it was asked with, and the way to asking another."""
    spec = job.parameters(EvictSpec)
    st.subheader("Eviction over prompts", anchor=False)
    st.caption(
        f"With {code(spec.model.source)}, {spec.sampling.gen_length:d} new tokens after each of "
        f"{job.summary['prompts']:d} prompts, seed {spec.seed:d}."
    )
    with st.expander("Its prompts and settings"):
        st.json(eviction_settings(job))
    _finished(job, spec, may_go_on=False)
    st.page_link("pages/causes.py", label="**Run another eviction**", icon=":material/science:")


def eviction_settings(job: JobRecord) -> dict[str, Any]:
    """What an eviction was asked with, for an exported page."""
    return job.parameters(EvictSpec).model_dump(mode="json")


def _spec(recording: Recording, params: SinkParams) -> EvictSpec | None:
    """The question as the controls have it; None after saying what is wrong with it."""
    lines = prompt_box(recording, "evict_prompts")
    policies = st.multiselect(
        "Policies",
        [name for name, row in POLICIES.items() if row.asked],
        default=list(EvictSpec.model_fields["policies"].default),
        key="evict_policies",
        bind="query-params",
        format_func=lambda name: POLICIES[name].title,
        help="\n".join(f"- {plain(row.title)}: {plain(row.help)}" for row in POLICIES.values()),
    )
    budgets = st.multiselect(
        "Budgets",
        _BUDGETS,
        default=list(EvictSpec.model_fields["budgets"].default),
        key="evict_budgets",
        bind="query-params",
        format_func=lambda share: f"{share:.0%}",
        help=plain(EvictSpec.model_fields["budgets"].description or ""),
    )
    try:
        return EvictSpec(
            model=recording.model,
            prompts=lines,
            chat_template="on" if recording.info.chat_template else "off",
            sampling=recording.request().sampling,
            policies=tuple(policies),
            budgets=tuple(sorted(budgets)),
            sinks=params,
            seed=recording.info.seed,
        )
    except ValidationError as error:
        st.info(plain(problem_sentence(error)))
        return None


def _finished(job: JobRecord, spec: EvictSpec, may_go_on: bool = True) -> None:
    done, planned = job.summary["prompts"], job.summary["planned"]
    if done < planned:
        st.warning(f"Stopped after {done:d} of {planned:d} prompts. Intervals are interim, and nothing is tested.")
        if may_go_on:
            asking.go_on("evict", spec, "Continue")
    first, *others = words_of(job.summary) or [""]
    if first:
        st.markdown(f"**{plain(first)}**")
    _outcome(job.summary)
    if others:
        with st.expander("What every policy shows", icon=":material/notes:"):
            for said in others:
                st.markdown(plain(said))
    st.caption(plain(conditions(job.summary)))
    _tables(spec, job.summary)


def _so_far(partial: Mapping[str, Any]) -> None:
    """What the prompts that are done show, while the others run."""
    if partial.get("prompts", 0) > 1:
        st.caption(f"Interim, of {partial['prompts']:d} prompts: nothing is tested before all are done.")
        _outcome(partial)


def _outcome(summary: Mapping[str, Any]) -> None:
    """What is there so far or in the end. summary: of the prompts that are done."""
    for kind, drawn in (("frontier", frontier_of), ("effects", effects_of)):
        figures = {name: figure for name in TESTED if (figure := drawn(summary, name)) is not None}
        for column, (name, figure) in zip(st.columns(2, gap="large"), figures.items(), strict=False):
            with column:
                show(figure, f"evict_{kind}_{name}")


def _tables(spec: EvictSpec, summary: Mapping[str, Any]) -> None:
    table(
        "Means over the prompts",
        "Every policy and control at every budget.",
        means(summary["rows"]),
        "evict_means",
        column_config={"budget": st.column_config.NumberColumn(format="percent")},
    )
    with st.expander("Single prompts", icon=":material/list:"):
        texts = [prompt if isinstance(prompt, str) else "token ids" for prompt in spec.prompts]
        table(
            "Every prompt by itself",
            "The numbers that the means and intervals are of.",
            single_prompts(summary["rows"], texts),
            "evict_single",
            export=False,
        )
