"""The explorer: a whole recording in the browser, where its text, heads, positions and curves answer each other."""

from analysis.figures.explorer.data import (
    MOST_CELLS,
    MOST_NULL_CELLS,
    DefinitionRow,
    ExplorerMaps,
    ExplorerTrack,
    content_of,
    explorer_bytes,
    feed_bytes,
)
from analysis.figures.explorer.file_coding import packed_text
from analysis.figures.explorer.fragment import (
    component_js,
    explorer_css,
    explorer_html,
    explorer_js,
    explorer_script,
    feed_js,
)

__all__ = [
    "MOST_CELLS",
    "MOST_NULL_CELLS",
    "DefinitionRow",
    "ExplorerMaps",
    "ExplorerTrack",
    "component_js",
    "content_of",
    "explorer_bytes",
    "explorer_css",
    "explorer_html",
    "explorer_js",
    "explorer_script",
    "feed_bytes",
    "feed_js",
    "packed_text",
]
