"""The ablation over a set of prompts: its controls, its effects with intervals, and the numbers of every prompt."""

from collections.abc import Mapping
from typing import Any

import streamlit as st
from pydantic import ValidationError
from streamlit.delta_generator import DeltaGenerator

from analysis.engine import JobRecord
from analysis.evaluation.ablation_exhibits import effects_of, in_words, means, single_prompts
from analysis.specs import CONTROLS, INTERVENTIONS, TARGETS, AblateSetSpec, SinkParams
from analysis.specs import sentence as problem_sentence
from cache.keys import content_key
from pages.parts import asking, controls
from pages.parts.acting import acting_button
from pages.parts.causes.prompt_box import prompt_box
from pages.parts.charts import show, table
from pages.parts.keyed import keyed_columns
from pages.parts.plain import code, plain
from pages.parts.recordings import references
from pages.parts.recordings.recording import Recording
from pages.parts.recordings.references import seconds_of
from pages.parts.session import engine

_ASKED = "ablate_set_asked"
NUMBERS = ("count", "window", "first_layer", "last_layer")  # two a row


def ablation_over_prompts(recording: Recording, params: SinkParams, side: DeltaGenerator) -> None:
    """Draws the view; its controls in `side`. Model, sampler and seed are those of the recording shown."""
    st.caption(
        "Does the model need its sinks? Each prompt is written again with the sinks hidden, and with matched tokens "
        "hidden: as many, and as much attention. Model, sampler and seed are those of the recording above."
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
        if acting_button("Run ablation", "run_ablate_set", place, icon=":material/science:", type="primary"):
            st.session_state[_ASKED] = question
    by_hand = st.session_state.get(_ASKED) == question
    if not by_hand and not asking.at_hand("ablate_set", spec):
        st.info("Not run yet. Press **Run ablation**: effects show as prompts finish.")
        drawn = sum(row.drawn for row in CONTROLS.values())
        written = len(spec.prompts) * (1 + (1 + drawn) * len(spec.targets) * len(spec.interventions))
        st.caption(f"Writes {written:,} texts, in batches. Recording one took {seconds_of(recording)}.")
        _earlier(recording)
        return
    what = f"Ablating over {len(spec.prompts)} prompts"
    job = asking.ask("ablate_set", spec, what, by_hand=by_hand, meanwhile=_so_far)
    if job is not None:
        _finished(job, spec)


def ablation_shown(job: JobRecord, title: str = "Ablation over prompts", link: bool = True) -> None:
    """Draws a finished ablation with what it was asked with. link: with the way to asking another."""
    spec = job.parameters(AblateSetSpec)
    st.subheader(title, anchor=False)
    done = ", ".join(INTERVENTIONS[name].title for name in spec.interventions)
    done = f"{done[0].upper()}{done[1:]}"
    st.caption(
        f"{plain(done)}, with {code(spec.model.source)}, {spec.sampling.gen_length:d} new tokens after each of "
        f"{job.summary['prompts']:d} prompts, seed {spec.seed:d}."
    )
    with st.expander("Its prompts and settings"):
        st.json(ablation_settings(job))
    _finished(job, spec, may_go_on=False)
    if link:
        st.page_link("pages/causes.py", label="**Run another ablation**", icon=":material/science:")


def _earlier(recording: Recording) -> None:
    """Draws the newest finished ablation of this model, where there is one with other settings."""
    source = recording.model.source
    jobs = engine().jobs("ablate_set")
    job = next((job for job in jobs if job.state == "done" and job.spec["model"]["source"] == source), None)
    if job is not None:
        ablation_shown(job, "The latest ablation of this model", link=False)


def ablation_settings(job: JobRecord) -> dict[str, Any]:
    """What an ablation was asked with, for an exported page."""
    return job.parameters(AblateSetSpec).model_dump(mode="json")


def _spec(recording: Recording, params: SinkParams) -> AblateSetSpec | None:
    """The question as the controls have it; None after saying what is wrong with it."""
    lines = prompt_box(recording, "ablate_set_prompts")
    targets = st.multiselect(
        "Positions",
        list(TARGETS),
        default=list(AblateSetSpec.model_fields["targets"].default),
        key="ablate_set_targets",
        bind="query-params",
        format_func=lambda name: TARGETS[name].title,
        help="\n".join(f"- {plain(row.title)}: {plain(row.help)}" for row in TARGETS.values()),
    )
    interventions = st.multiselect(
        "What is done to them",
        list(INTERVENTIONS),
        default=list(AblateSetSpec.model_fields["interventions"].default),
        key="ablate_set_interventions",
        bind="query-params",
        format_func=lambda name: INTERVENTIONS[name].title,
        help="\n".join(f"- {plain(row.title)}: {plain(row.help)}" for row in INTERVENTIONS.values()),
    )
    values: dict[str, Any] = {}
    for column, name in zip(
        [*keyed_columns(2, "ablate_set"), *keyed_columns(2, "ablate_set_more")], NUMBERS, strict=True
    ):
        with column:
            values[name] = controls.draw(AblateSetSpec, name, f"ablate_set_{name}", bind="query-params")
    try:
        return AblateSetSpec(
            model=recording.model,
            prompts=lines,
            chat_template="on" if recording.info.chat_template else "off",
            sampling=recording.request().sampling,
            targets=tuple(targets),
            interventions=tuple(interventions),
            sinks=params,
            seed=recording.info.seed,
            **values,
        )
    except ValidationError as error:
        st.info(plain(problem_sentence(error)))
        return None


def _finished(job: JobRecord, spec: AblateSetSpec, may_go_on: bool = True) -> None:
    done, planned = job.summary["prompts"], job.summary.get("planned", job.summary["prompts"])
    if done < planned:
        st.warning(f"Stopped after {done:d} of {planned:d} prompts. Intervals are interim, and nothing is tested.")
        if may_go_on:
            asking.go_on("ablate_set", spec, "Continue")
    else:
        for said in in_words(job.summary):
            st.markdown(plain(said))
    _outcome(job.summary)
    _single_prompts(spec, job.summary)


def _so_far(partial: Mapping[str, Any]) -> None:
    """What the prompts that are done show, while the others run."""
    if partial.get("prompts", 0) > 1:
        st.caption(f"Interim, of {partial['prompts']:d} prompts: nothing is tested before all are done.")
        _outcome(partial)


def _outcome(summary: Mapping[str, Any]) -> None:
    """What is there so far or in the end. summary: of the prompts that are done."""
    figures = {name: effects_of(summary, name) for name in ("divergence", "aligned", "agreement")}
    drawn = {name: figure for name, figure in figures.items() if figure is not None}
    for column, (name, figure) in zip(st.columns(2, gap="large"), drawn.items(), strict=False):
        with column:
            show(figure, f"ablate_set_effects_{name}")
    table(
        "Means over the prompts",
        "Attention: the share that the untouched forwards paid to the positions acted on, and how many those were.",
        means(summary["rows"]),
        "ablate_set_means",
        column_config={"attention acted on": st.column_config.NumberColumn(format="percent")},
    )


def _single_prompts(spec: AblateSetSpec, summary: Mapping[str, Any]) -> None:
    with st.expander("Single prompts", icon=":material/list:"):
        texts = [prompt if isinstance(prompt, str) else "token ids" for prompt in spec.prompts]
        table(
            "Every prompt by itself",
            "The numbers that the means and intervals are of.",
            single_prompts(summary["rows"], texts),
            "ablate_set_single",
            export=False,
        )
