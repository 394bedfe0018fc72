"""The explorer's script and style, and the explorer as a piece of an HTML file that needs no server and no network."""

import json
from functools import cache
from pathlib import Path

from analysis.recording.explored import packed_text

_FOLDER = Path(__file__).parent
# Each file is one subject; together they are one module, in the order in which they read.
_PARTS = (
    "colors", "recording", "selection", "sentence", "view", "text_view", "heads_view", "curve_view", "raster_view",
    "template", "pointer", "explorer",
)  # fmt: skip


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


@cache
def explorer_js() -> str:
    """Return the script; its `mount` draws an explorer into an element."""
    return "\n".join(_read(f"{part}.js") for part in _PARTS)


@cache
def colors_js() -> str:
    """Return the part of the script that holds the colours, which the player shares."""
    return _read("colors.js")


@cache
def explorer_css() -> str:
    """Return the style."""
    return _read("explorer.css")


@cache
def component_js() -> str:
    """Return the module that a Streamlit component runs: the explorer, and its messages to the page."""
    return f"{explorer_js()}\n{_read('component.js')}"


@cache
def feed_js() -> str:
    """Return the module of the component that hands an explorer its requested data."""
    return _read("feed.js")


@cache
def explorer_script() -> str:
    """Return the script of the explorer in an HTML file, as it stands between its tags; the same whatever it shows."""
    style = json.dumps(explorer_css()).replace("<", "\\u003c")
    file = _read("file.js")
    return f"\n{explorer_js()}\nconst STYLE = {style};\n{file}\n"


def explorer_html(packed: bytes | str) -> str:
    """Return the explorer of `explorer_bytes`, or of their `packed_text`, for a place in the body of an HTML file,
    everything inline.

    Any text inside is shown as text, whatever it holds.
    """
    content = packed if isinstance(packed, str) else packed_text(packed)
    return f"""<div class="sinkscope-explorer"></div>
<script type="text/plain">{content}</script>
<script type="module">{explorer_script()}</script>"""
