"""The first screen: what this is, the answer of the study, and the three ways on."""

import streamlit as st

from analysis.exhibits.story import WHAT
from analysis.figures.story import Story, picture_html
from analysis.specs import QUESTION
from analysis.study.findings import Findings
from pages.parts import address
from pages.parts.plain import plain
from pages.parts.primary_link import primary_link
from pages.parts.session import engine
from pages.parts.study import html_parts
from pages.parts.study.in_hand import ADDRESS

ASKING = "ask"  # in the address: that what a study asks is shown
STYLE = """<style>
[data-testid='stMainBlockContainer']{padding-top:3.6rem}
.st-key-study_shown label{position:absolute;clip-path:inset(50%);height:1px;overflow:hidden}
.st-key-story_stage{--player-size:.82rem}
[data-testid='stMain'] h1{text-wrap:balance;font-size:1.65rem;line-height:1.15;padding:0}
.st-key-story_first,.st-key-story_first .stVerticalBlock{gap:.75rem}.st-key-story_first p{margin-bottom:.2rem}
.st-key-study_answer{padding:.6rem .9rem;margin-top:.35rem}.st-key-study_answer p{font-size:.93rem;line-height:1.4}
.st-key-study_answer strong{display:block;font-size:1.02rem;text-wrap:balance}
.st-key-story_first [data-testid='stMarkdownContainer']{margin-bottom:-.2rem}
.st-key-story_ways{gap:.5rem;align-items:center}.st-key-story_ways .st-key-primary_link{margin-top:0}
.st-key-story_ways>:has(>.st-key-primary_link){flex:0 0 auto;width:auto}
.st-key-story_ways .st-key-primary_link a{background:#1f5fbf;border-color:#1f5fbf!important}
.st-key-story_ways [data-testid='stPageLink'] a{border:1px solid color-mix(in srgb,currentColor 25%,transparent);
border-radius:.5rem;padding:.3rem .45rem;min-height:2.4rem}
.st-key-story_ways [data-testid='stPageLink'] p{font-size:.86rem;white-space:nowrap}
@media (min-width:1100.1px){[data-testid='stColumn']:has(.st-key-story_stage){position:sticky;top:4.2rem;
align-self:flex-start}}
@media (min-width:1100.1px) and (max-width:1600px) and (max-height:900px){
.st-key-story_first{min-height:calc(100vh - 4.2rem)}}
@media (max-width:640px){[data-testid='stMain'] h1{font-size:1.45rem}
[data-testid='stMainBlockContainer']{padding-top:3.4rem;padding-bottom:.5rem}
.st-key-story_first,.st-key-story_first .stVerticalBlock{gap:.4rem}.st-key-story_behind{gap:.4rem}
.st-key-story_stage{--player-size:.78rem}.st-key-story_ways{gap:.35rem;margin:.3rem 0}
.st-key-story_ways [data-testid='stPageLink'] p{font-size:.79rem}
.st-key-story_ways [data-testid='stPageLink'] a{padding:.3rem;gap:.3rem}}
@media (max-width:1100px){
[data-testid='stHorizontalBlock']:has(.st-key-story_stage){flex-direction:column}
[data-testid='stHorizontalBlock']:has(.st-key-story_stage)>[data-testid='stColumn']{width:100%;min-width:100%;flex:none}
}
</style>"""


def without_study() -> None:
    """Draw the first screen where there is no study, not even the example."""
    st.title(QUESTION, anchor=False)
    st.caption(WHAT)
    st.info("No study here yet. **Run on your model**, and each part appears here as it finishes.")
    _ways("")


def first_screen(findings: Findings, told: Story, name: str) -> None:
    """Draw what this is, one sink, the answer, and the ways on. name: of the study in the address."""
    st.title(QUESTION, anchor=False)
    before, term, after = told.what.partition(told.term)
    st.markdown(f"{plain(before)} **{plain(term)}**{plain(after)}")  # plain drops the space at the end
    if told.picture:
        html_parts.mount(picture_html(told), "story_picture")
    with st.container(border=True, key="study_answer"):
        runs = findings.state in ("queued", "running")
        if not told.answers:
            nothing = (
                "No answer yet: the first parts are under way."
                if runs
                else "No answer: the study ended before its first parts."
            )
            st.markdown(nothing)
        for answer in told.answers:
            st.markdown(f"{plain(answer.question)} **{plain(answer.lead)}** {plain(answer.sentence)}")
    _ways(name)
    st.caption(plain(" ".join(filter(None, (told.about, told.thin, told.reading)))))


def _ways(name: str) -> None:
    """Draw the three buttons. name: of the study in the address, empty if there is none to present."""
    study = {ADDRESS: name} if name else {}
    with st.container(horizontal=True, key="story_ways"):
        primary_link("pages/explore.py", label="**Record a prompt**", icon=":material/play_circle:")
        if name:
            st.page_link(
                "pages/start.py",
                label="**Present**",
                icon=":material/slideshow:",
                query_params=address.to_slides(study=name),
                help="The story as slides. Arrow keys, a clicker or a swipe lead on; Esc leaves.",
            )
        if not engine().authorizer.demo:
            st.page_link(
                "pages/start.py",
                label="**Run on your model**",
                icon=":material/science:",
                query_params={**study, ASKING: "true"},
            )
