"""A study as slides: its story in larger type and without controls, led through by the keyboard."""

from collections.abc import Callable, Iterator
from functools import partial

import streamlit as st

from analysis.figures.export import Exhibit
from analysis.figures.presentation import enlarged, presenter_js
from analysis.specs import QUESTION, STUDY_PARTS, StudySpec
from analysis.study import exhibits, rules
from analysis.study.findings import Findings
from analysis.study.report import NOTHING
from pages.parts import address
from pages.parts.plain import plain
from pages.parts.plot import plot
from pages.parts.recordings.player import stored_player

_SENTENCES = 3  # of each model on a slide
_STYLE = """<style>
html { font-size: clamp(17px, 1.75vw, 30px) !important }
[data-testid=stSidebar], [data-testid=stHeader], [data-testid=stExpandSidebarButton], [data-testid=stElementToolbar] {
  display: none !important }
[data-testid=stMainBlockContainer] { padding: 0 4vw !important; max-width: none }
[class*='st-key-slide_'] { min-height: 100vh; justify-content: center; padding: 1rem 0; --player-size: .72rem }
</style>"""
_mount = st.components.v2.component("sinkscope_presenter", js=presenter_js())


def present_link(name: str) -> None:
    """Draws the way to the slides of a study. name: of the study in the address."""
    st.page_link(
        "pages/study.py",
        label="**Present**",
        icon=":material/slideshow:",
        query_params=address.to_slides(study=name),
        help="The story as slides. Arrow keys or a clicker lead on, Esc leaves.",
    )


def present(findings: Findings) -> None:
    """Draws the slides, and what leads through them."""
    address.present()
    st.html(_STYLE)
    for number, slide in enumerate(_slides(findings)):
        with st.container(key=f"slide_{number}"):
            slide()
    _mount(key="presenter", on_left_change=address.leave_slides)


def _slides(findings: Findings) -> Iterator[Callable[[], None]]:
    yield partial(_first, findings)
    for number, (name, part) in enumerate(STUDY_PARTS.items(), start=1):
        if findings.part(name).state == "not asked":
            continue
        title = f"{number} · {part.title}"
        if name == "watch" and findings.playback is not None:
            yield partial(_watch, title, findings)
            continue
        yield partial(_part, title, part.question, exhibits.sayings(findings, name))
        for key, exhibit in exhibits.part_exhibits(findings, name).items():
            yield partial(_figure, exhibit, key)
    for said in rules.verdicts(findings):
        yield partial(_verdict, said)


def _first(findings: Findings) -> None:
    st.title(QUESTION, anchor=False)
    for sentence in rules.answer(findings):
        st.subheader(plain(sentence), anchor=False)
    spec = StudySpec.model_validate(findings.spec)
    st.caption(plain(f"{' and '.join(model.source for model in spec.models)} · {findings.created[:10]}"))


def _watch(title: str, findings: Findings) -> None:
    st.header(title, anchor=False)
    with st.container(key="player_slide"):
        stored_player(findings.playback or {}, "presented_player")


def _part(title: str, question: str, sayings: dict[str, tuple[str, ...]]) -> None:
    st.header(title, anchor=False)
    st.subheader(plain(question), anchor=False)
    columns = st.columns(max(len(sayings), 1), gap="large")
    for column, (model, sentences) in zip(columns, sayings.items(), strict=False):
        column.markdown(f"**{plain(model)}**")
        column.markdown("\n".join(f"- {plain(sentence)}" for sentence in sentences[:_SENTENCES] or (NOTHING,)))


def _figure(exhibit: Exhibit, key: str) -> None:
    st.subheader(plain(exhibit.title), anchor=False)
    st.markdown(plain(exhibit.told))
    if exhibit.figure is not None:
        plot(
            enlarged(exhibit.figure),
            key=f"presented_{key}",
            config={"displayModeBar": False},
            alt=f"{exhibit.title}. {exhibit.told}",
        )


def _verdict(said: rules.Verdict) -> None:
    st.header(plain(said.title), anchor=False)
    st.subheader(plain(said.sentence), anchor=False)
    for told in filter(None, (said.numbers, said.needs)):
        st.markdown(plain(told))
    st.caption(f"Controlled: {plain(said.controlled)}")
    st.caption(f"Left out: {plain(said.left_out)}")
