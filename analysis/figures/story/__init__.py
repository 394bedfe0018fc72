"""The story of a study as HTML, for page, slides and report alike."""

from analysis.figures.story.fragment import (
    CANNOT_TELL,
    Answer,
    Story,
    Summary,
    Told,
    figure_html,
    file_script,
    findings_html,
    page_js,
    picture_html,
    slides_html,
    story_css,
)

__all__ = [
    "CANNOT_TELL",
    "Answer",
    "Story",
    "Summary",
    "Told",
    "figure_html",
    "file_script",
    "findings_html",
    "page_js",
    "picture_html",
    "slides_html",
    "story_css",
]
