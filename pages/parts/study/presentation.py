"""The story's pieces of HTML on a page; and a study as slides, led through by keys, swipes and buttons."""

from collections.abc import Callable
from hashlib import sha256

import streamlit as st
from markupsafe import Markup

from analysis.exhibits.story import story_of
from analysis.figures.story import page_js, slides_html, story_css
from analysis.study.findings import Findings
from pages.parts import address

_mount = st.components.v2.component("sinkscope_story", css=story_css(), js=page_js())


def mount(html: Markup, key: str) -> None:
    """Draw a piece of the story; its script leads through the findings in it as the page is scrolled."""
    _mount(key=key, data={"html": str(html), "content": _content(html), "slide": 1})


def mount_slides(html: Markup, slide: int, moved: Callable[[int], None], left: Callable[[], None]) -> None:
    """Draw slides, open at a number from 1. moved: told the slide that was gone to; left: called as they are closed."""

    def told() -> None:
        moved(int(st.session_state["story_slides"]["slide"]))

    _mount(
        key="story_slides",
        data={"html": str(html), "content": _content(html), "slide": slide},
        default={"slide": slide},
        on_slide_change=told,
        on_left_change=left,
    )


def _content(html: Markup) -> str:
    return sha256(html.encode()).hexdigest()[:16]


SLIDE = "slide"  # in the address: the slide that is shown, from 1
# The page around the slides; printed, each slide is one page.
_STYLE = """<style>
[data-testid=stSidebar], [data-testid=stHeader], [data-testid=stExpandSidebarButton] { display: none !important }
[data-testid=stMainBlockContainer] { padding: 0 !important; max-width: none }
@page { size: 1280px 720px; margin: 0 }
@media print { :is(html, body, #root, [data-testid=stApp], [data-testid=stApp] *) {
  position: static !important; overflow: visible !important; height: auto !important; min-height: 0 !important;
  margin: 0 !important; padding: 0 !important; gap: 0 !important } }
</style>"""


def present(findings: Findings) -> None:
    """Draw the slides of a study, at the one in the address."""
    asked = address.named(SLIDE) or "1"  # before the address is written, which sends all of it to the browser
    address.present()
    st.html(_STYLE)
    story = story_of(findings)
    slide = int(asked) if asked.isdecimal() and 0 < int(asked) < 100 else 1
    mount_slides(slides_html(story), slide, lambda number: address.write(SLIDE, str(number)), _leave)


def _leave() -> None:
    address.drop(SLIDE)
    address.leave_slides()
