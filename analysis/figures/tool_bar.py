"""The tool bar of figures in the browser, alike on pages, in exported files and in reports."""

from pathlib import Path

_PLACE = "%TOOL_BAR%"
STYLE = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")


def with_tool_bar(script: str) -> str:
    """Put the functions of the tool bar into a script that draws figures, where it says `%TOOL_BAR%`."""
    return script.replace(_PLACE, Path(__file__).with_suffix(".js").read_text(encoding="utf-8"))
