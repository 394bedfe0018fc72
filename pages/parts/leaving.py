"""Components that message the server unprompted, silent once the visitor leaves the page."""

from pathlib import Path

_GUARD = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
_EXPORTED = "export default function component("


def guarded(script: str) -> str:
    """Return a component's script so that it tells the server nothing once the visitor leaves the page.

    Raises ValueError where the script exports no function `component`.
    """
    before, exported, after = script.partition(_EXPORTED)
    if not exported:
        raise ValueError(f"The script of a component is expected to hold {_EXPORTED!r}.")
    return f"{before}function component({after}\n{_GUARD}"
