"""Figures as PNG and SVG files, drawn by kaleido in a Chrome or Chromium of this machine, where both are there.

kaleido is no requirement: without it, or without a browser, reports go without pictures and say so.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import plotly.graph_objects as go

FORMATS = ("png", "svg")
_SCALE = 3  # pixels of a PNG for one of the figure's
_WIDTH = 1000  # of the figure, in pixels
_PATIENCE = 60.0  # seconds for one picture
MISSING_KALEIDO = 'PNG and SVG are left out: kaleido is not installed. `pip install "kaleido>=1.1"` adds it.'
MISSING_BROWSER = (
    "PNG and SVG are left out: kaleido found no Chrome or Chromium. Install one, or name it in BROWSER_PATH."
)


def pictures(figures: Mapping[str, go.Figure]) -> tuple[dict[str, bytes], str]:
    """Return each figure as `NAME.png` and `NAME.svg`, on white; and, if there are none, what is missing, in a
    sentence.
    """
    if not figures:
        return {}, ""
    try:
        import kaleido  # noqa: F401
    except ImportError:
        return {}, MISSING_KALEIDO
    from choreographer.errors import BrowserFailedError, ChromeNotFoundError

    try:
        with ThreadPoolExecutor(1) as apart:  # a thread of its own, as the caller's may have a running loop
            return apart.submit(asyncio.run, _drawn(figures)).result(), ""
    except ChromeNotFoundError:
        return {}, MISSING_BROWSER
    except (BrowserFailedError, TimeoutError, OSError) as error:
        return {}, f"PNG and SVG are left out: the browser could not draw them ({error or type(error).__name__})."


async def _drawn(figures: Mapping[str, go.Figure]) -> dict[str, bytes]:
    from kaleido import Kaleido

    found = {}
    async with Kaleido(n=1, timeout=_PATIENCE, mathjax=False) as drawer:
        for name, figure in figures.items():
            for kind in FORMATS:
                options = {"format": kind, "scale": _SCALE if kind == "png" else 1, "width": _WIDTH}
                found[f"{name}.{kind}"] = bytes(await drawer.calc_fig(figure, opts=options))
    return found
