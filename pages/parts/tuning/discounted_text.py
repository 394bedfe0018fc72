"""Calibration text as coloured tokens: the more a token is discounted, the stronger its shade."""

from collections.abc import Sequence
from html import escape

import streamlit as st

_STYLE = """<style>
.ss-discount{line-height:2.1;padding:.35rem 0}
.ss-discount span{display:inline-block;line-height:1.45;padding:0 .32em;margin:0 .1em;border-radius:.3em;
  border:1px solid transparent;white-space:pre}
.ss-discount .mask{border:1px dashed rgba(128,138,156,.5);font-size:.78em}
</style>"""


def shade(omega: float) -> str:
    """The background of a token that counts ω."""
    return f"rgba(232,89,12,{0.7 * (1 - min(max(omega, 0.0), 1.0)):.2f})"


def discounted_text(labels: Sequence[str], masked: Sequence[bool], omega: Sequence[float], z: Sequence[float]) -> str:
    """HTML of one sequence. All text is escaped: calibration text may hold markup."""
    spans = []
    for position, (label, hidden, weight, above) in enumerate(zip(labels, masked, omega, z, strict=True)):
        text = "[MASK]" if hidden else (label.replace("\n", "⏎").strip() or "␣")
        kind = ' class="mask"' if hidden else ""
        note = f"position {position} · ω {weight:.3f} · z {above:+.2f}"
        spans.append(f'<span{kind} style="background:{shade(weight)}" title="{note}">{escape(text)}</span>')
    return f'<div class="ss-discount" role="group" aria-label="Text with its token weights">{"".join(spans)}</div>'


def legend() -> str:
    """What the shades mean."""
    parts = [f'<span style="background:{shade(omega)}">ω = {omega:g}</span>' for omega in (1, 0.5, 0)]
    return f'<div class="ss-discount">{"".join(parts)}<span class="mask">[MASK]</span></div>'


def show(*parts: str) -> None:
    """Puts it on the page."""
    st.html(_STYLE + "".join(parts))
