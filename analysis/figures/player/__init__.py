"""The player's script and style, and the player as a piece of an HTML file that needs no server and no network."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from analysis.figures.explorer import colors_js
from analysis.figures.style import TOKEN

_FOLDER = Path(__file__).parent


@cache
def player_js() -> str:
    """Return the script: a module whose default export takes what `st.components.v2` gives a component."""
    return f"{colors_js()}\n{(_FOLDER / 'player.js').read_text(encoding='utf-8')}"


@cache
def player_css() -> str:
    """Return the style, with the colours that figures use for the same things."""
    style = (_FOLDER / "player.css").read_text(encoding="utf-8")
    return style.replace("TOKEN_COLOR", TOKEN)


def player_script() -> str:
    """Return the player's script in an HTML file, as it stands between its tags; the same whatever it plays."""
    style = json.dumps(player_css()).replace("<", "\\u003c")
    return f"""
{player_js()}
const data = [...document.querySelectorAll(".sinkscope-player")].find((host) => !host.shadowRoot);
const root = data.attachShadow({{mode: "open"}});
const style = document.createElement("style");
style.textContent = {style};
const place = document.createElement("div");
root.append(style, place);
player({{
  data: JSON.parse(data.nextElementSibling.textContent),
  parentElement: place, setTriggerValue: () => {{}},
}});
"""


def player_html(data: dict[str, Any]) -> str:
    """Return the player of `playback` data for a place in the body of an HTML file, everything inline.

    Any text inside is shown as text, whatever it holds.
    """
    content = json.dumps(data).replace("<", "\\u003c")
    return f"""<div class="sinkscope-player"></div>
<script type="application/json">{content}</script>
<script type="module">{player_script()}</script>"""
