"""The player: a text filling in step by step with its sinks, played by the browser alone."""

from analysis.figures.player.data import Played, Track, frame_beside, opening_frame, playback, unpacked
from analysis.figures.player.fragment import player_css, player_html, player_js, player_script

__all__ = [
    "Played",
    "Track",
    "frame_beside",
    "opening_frame",
    "playback",
    "player_css",
    "player_html",
    "player_js",
    "player_script",
    "unpacked",
]
