"""The story's pieces of HTML on a page: its picture, its findings, its slides."""

from collections.abc import Callable
from hashlib import sha256

import streamlit as st
from markupsafe import Markup

from analysis.figures.story import page_js, story_css

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
