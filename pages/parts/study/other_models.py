"""Findings of the current study on other pages: hiding sinks in one text, in the twin and in random weights; and on
Evidence, its claims and, while no set was recorded, kinds of sinks by layer and how they move.
"""

from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine import JobRecord
from analysis.evaluation.ablation_effects import COUNT, MASS
from analysis.exhibits.ablation import answer_of_study
from analysis.exhibits.story_example import OTHERS_HIDDEN, text_shown
from analysis.exhibits.story_movement import movement
from analysis.exhibits.study import part_exhibits, shares_of_each, sinks_of_each
from analysis.figures.export import Exhibit
from analysis.figures.story import Told, figure_html
from analysis.findings import finding_of
from analysis.findings.layers import SIGNIFICANTLY, KindShares, terms_told
from analysis.sinks.definitions import criterion
from analysis.specs import CONTROLS, SinkParams
from analysis.study import rules
from analysis.study.findings import Continuation, Findings
from analysis.study.gather import continuations_of
from analysis.words import counted, model_in_words
from pages.parts.causes import over_prompts, results
from pages.parts.charts import chart, download_buttons, exhibit_table, exhibit_text
from pages.parts.controls import pick
from pages.parts.plain import plain
from pages.parts.recordings.by_layer import CAUSAL, MOVING, WHERE, beside_each_other, headline, next_steps
from pages.parts.session import engine, told
from pages.parts.study.choice import ADDRESS, current_study, example, of_record, studies, study_in_hand
from pages.parts.study.presentation import mount

_SHIPPED = "This is the shipped study; your own recordings take its place."
_CHANGED = "study_changed"  # key of a container
_SHADED = "Shaded: differs from the first text. Faint: after the end of the text, counted but not shaded."
_SHOWN = ("causes_aligned", "causes_divergence")  # as on Causes


def one_text(job: JobRecord) -> Callable[[], None] | None:
    """Return what draws one text of an ablation over prompts with and without its sinks; None where the job hides
    none.
    """
    told = continuations_of({"": job})
    return _drawn(told[0], finding_of("first text", job.summary)) if told else None


def _drawn(text: Continuation, beside: str = "") -> Callable[[], None]:
    """beside: how much this text changes beside all."""
    title = "One text"
    there = [name for name in OTHERS_HIDDEN if name == COUNT or name in text.others]
    controls = sorted(there, key=lambda name: name != MASS)  # the one that decides first
    aligned = "Each text is aligned with the untouched one, token by token."

    def draw() -> None:
        st.markdown(f"**{plain(title)}**", help=aligned)
        st.caption(plain(f"{beside} {_SHADED}".strip()))
        control = controls[0]
        if len(controls) > 1:
            control = pick(
                "Compare with hiding", controls, "causes_text_beside", format_func=lambda name: CONTROLS[name].title
            )
        figure, told = text_shown(text, control)
        mount(figure_html(figure, told), "causes_text")
        exhibit_text(title, told, "", "causes_text")

    return draw


def study_answer(source: str) -> None:
    """Say what the current study found on hiding sinks and draw it, with one text; nothing where it has not. source: of
    a model.
    """
    current = _of_model(source)
    answered = None if current is None else answer_of_study([one for one in current[1].causes if one.model == source])
    if current is None or answered is None:
        return
    st.markdown(f"##### {plain(answered.told)}")
    if answered.beneath:
        st.markdown(plain(answered.beneath))
    sink = over_prompts.SINK.format(criterion(SinkParams()))
    with st.container(key=results.NOTE):
        st.caption(plain(f"{sink} This is the {current[0]} study; your own runs take its place."))
    text = next((text for text in current[1].continuations if text.model == source), None)
    example = None if text is None else _drawn(text)
    results.answer_first("study", {}, _CHANGED)
    results.with_example({"levels": answered.figure}, example, "study")
    with st.container(key=_CHANGED), st.expander(results.CHANGED, icon=":material/query_stats:", key="study_more"):
        st.markdown(plain(answered.changed))
        results.draw_shifts(answered.shifts)


def other_models(source: str) -> None:
    """Draw what the current study found of the twin and of random weights, in a fold; else say that they were not run.
    source: of the model that the page is on.
    """
    current = _of_model(source)
    figures = {} if current is None else part_exhibits(current[1], "causes")
    if current is None or not figures:
        st.caption("The left-to-right twin and random weights were not run; a study on Start runs both.")
        return
    title = f"The left-to-right twin and random weights, {current[0]} study"
    with st.expander(plain(title), icon=":material/compare_arrows:", key="causes_twin"):
        for name in filter(figures.__contains__, _SHOWN):
            chart(figures[name], f"study_{name}")


def _of_model(source: str) -> tuple[str, Findings] | None:
    """Return the current study after a word on which it is, shipped or current; None where it has another model."""
    current = current_study()
    if current is None or current[2].parameters.model.source != source:
        return None
    return "shipped" if current[1] is None else "current", current[2]


def without_sets(view: str, answer: DeltaGenerator) -> bool:
    """Draw what the shipped study found of a view of Evidence; False where it holds nothing. answer: where its first
    sentence goes.
    """
    study = example()
    return study is not None and view in _OF_STUDY and _OF_STUDY[view](study, answer)


def _layers_of_study(study: Findings, answer: DeltaGenerator) -> bool:
    _, shown, shares = _layers(study)
    if not shown:
        return False
    first, *others = headline(answer, WHERE, finding_of("kinds of layers", shares))
    rarer = finding_of("rarer untrained", next(iter(shares.values())).leads())
    terms = terms_told(
        criterion(SinkParams()), f"{study.parameters.prompts} prompts", counted(study.parameters.random_models, "model")
    )
    figures = [shown[0], *(replace(twin, sentence=f"{twin.sentence} {CAUSAL}") for twin in shown[1:])]
    beside_each_other([figure.title for figure in shown], figures, "study_layers", [first, *others])
    st.caption(plain(f"Shipped study. {terms}"), help=plain(f"{_SHIPPED} {SIGNIFICANTLY} {rarer}".strip()))
    next_steps()
    return True


def _movement_of_study(study: Findings, answer: DeltaGenerator) -> bool:
    _, shown, moved = _movement(study)
    if moved is None:
        return False
    for paragraph in filter(None, headline(answer, MOVING, (f"{moved.title}.", *moved.beats))):
        answer.markdown(plain(paragraph))
    beside_each_other([figure.title for figure in shown], shown, "study_movement", [""] * len(shown))
    st.caption(plain(f"Shipped study. {moved.caveat}"), help=plain(_SHIPPED))
    next_steps()
    return True


_OF_STUDY: dict[str, Callable[[Findings, DeltaGenerator], bool]] = {WHERE: _layers_of_study, MOVING: _movement_of_study}


@st.cache_resource(max_entries=2, show_spinner=False, hash_funcs={Findings: id})
def _movement(study: Findings) -> tuple[Findings, list[Exhibit], Told | None]:
    """Return how the sinks of each model move, as figures and as the story tells it; and the study, as of `_layers`."""
    return study, [*part_exhibits(study, "movement").values()], movement(study)


@st.cache_resource(max_entries=2, show_spinner=False, hash_funcs={Findings: id})
def _layers(study: Findings) -> tuple[Findings, list[Exhibit], dict[str, KindShares]]:
    """Return the kinds of sinks by layer; and the study, as a kept one shares its id with no other."""
    return study, sinks_of_each(study), shares_of_each(study)


def claims(expanded: bool) -> None:
    """Draw the table in an expander; nothing without a study. expanded: whether it starts open."""
    there = studies()
    name = study_in_hand(there)
    if name is None:
        return
    record = there[name]
    with (
        st.expander("Claims of the current study", icon=":material/fact_check:", key="claims", expanded=expanded),
        told(),
    ):
        findings = example() if record is None else of_record(record)
        verdicts = [] if findings is None else rules.verdicts(findings)
        if findings is None or not verdicts:
            st.caption("No claims yet: a study makes them once its parts are done.")
        else:
            model = model_in_words(findings.spec["model"]["source"])
            columns = {
                "claim": "title",
                "what the study shows": "sentence",
                "numbers": "numbers",
                "left out": "left_out",
            }
            frame = pd.DataFrame([{name: getattr(one, of) for name, of in columns.items()} for one in verdicts])
            for one in verdicts:
                more = plain(f"{one.numbers} {one.left_out}")
                st.markdown(f"**{plain(one.title)}** {plain(one.sentence)}", help=more)
            title = f"{len(verdicts)} claims about {model}"
            exhibit_table(title, "Each with its rule, numbers and what they leave out.", frame, "study_claims")
            download_buttons(frame, "study_claims")
        if record is None or engine().job(record.id) is not None:
            st.page_link(
                "pages/start.py",
                label="**Open the study**",
                icon=":material/auto_stories:",
                query_params={ADDRESS: name},
            )
