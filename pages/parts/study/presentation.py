"""A study as slides: its findings in larger type, led through by keys, swipes and buttons."""

import streamlit as st

from analysis.exhibits.story import story_of
from analysis.figures.story import slides_html
from analysis.study.findings import Findings
from pages.parts import address
from pages.parts.study.html_parts import mount_slides

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
    address.present()
    st.html(_STYLE)
    story = story_of(findings)
    asked = address.named(SLIDE) or "1"
    slide = int(asked) if asked.isdecimal() and 0 < int(asked) < 100 else 1
    mount_slides(slides_html(story), slide, lambda number: address.write(SLIDE, str(number)), _leave)


def _leave() -> None:
    address.drop(SLIDE)
    address.leave_slides()
