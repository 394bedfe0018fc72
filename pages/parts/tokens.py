"""A step's text as coloured tokens: shade = confidence, outline = sink, grey = still masked."""

from collections.abc import Sequence
from html import escape

import streamlit as st

from analysis.figures.style import SINK

_STYLE = """<style>
.ss-text{line-height:2.15;font-size:1rem;padding:.35rem 0}
.ss-text span{display:inline-block;line-height:1.45;padding:0 .32em;margin:0 .1em;
  border-radius:.3em;border:2px solid transparent;white-space:pre}
.ss-text .mask{color:rgba(128,138,156,.85);border:2px dashed rgba(128,138,156,.4);
  background:transparent;font-size:.78em}
.ss-text .new{font-weight:700}
.ss-text .prompt{background:rgba(128,138,156,.16)}
.ss-text .changed{background:rgba(240,160,32,.38)}
.ss-text .sink{border:2px solid SINK;box-shadow:0 0 0 1px SINK55}
.ss-legend{font-size:.82rem;opacity:.85}
.ss-legend .ss-text{display:inline;padding:0;font-size:.82rem}
</style>""".replace("SINK", SINK)


def confidence_color(confidence: float) -> str:
    """Shade of a token by the probability it was chosen with: amber when unsure, blue when sure."""
    if confidence < 0.5:
        return f"rgba(240,160,32,{0.15 + 0.5 * (0.5 - confidence) * 2:.2f})"
    return f"rgba(58,124,232,{0.10 + 0.45 * (confidence - 0.5) * 2:.2f})"


def token_text(
    labels: Sequence[str],
    masked: Sequence[bool],
    confidence: Sequence[float | None],
    prompt_length: int,
    sinks: Sequence[bool] | None = None,
    new: Sequence[bool] | None = None,
    mass: Sequence[float] | None = None,
) -> str:
    """HTML of one step. confidence: probability each token was chosen with, None where it was not (yet).

    All text is escaped: a model or a prompt may write markup.
    """
    spans = []
    for index, label in enumerate(labels):
        if not label:
            continue
        kinds, style, notes = [], "", [f"position {index}"]
        sure = confidence[index]
        if masked[index]:
            kinds.append("mask")
        elif index < prompt_length:
            kinds.append("prompt")
            notes.append("prompt")
        elif sure is not None:
            style = f' style="background:{confidence_color(sure)}"'
            notes.append(f"confidence {sure:.0%}")
        if new is not None and new[index]:
            kinds.append("new")
            notes.append("chosen in this step")
        if mass is not None:
            notes.append(f"mass {mass[index]:.2f}")
        if sinks is not None and sinks[index]:
            kinds.append("sink")
            notes.append("attention sink")
        text = "[MASK]" if masked[index] else (label.replace("\n", "⏎").strip() or "␣")
        classes = f' class="{" ".join(kinds)}"' if kinds else ""
        spans.append(f'<span{classes}{style} title="{escape(" · ".join(notes))}">{escape(text)}</span>')
    return f'<div class="ss-text" role="group" aria-label="Text of this step">{"".join(spans)}</div>'


def changed_text(words: Sequence[str], same: Sequence[bool]) -> str:
    """HTML of a written text beside another: tokens that differ from it are shaded."""
    spans = [
        f"<span{'' if unchanged else ' class=changed'}>{escape(word.replace(chr(10), '⏎').strip() or '␣')}</span>"
        for word, unchanged in zip(words, same, strict=True)
    ]
    return f'<div class="ss-text" role="group" aria-label="Text with its changes">{"".join(spans)}</div>'


def legend(sinks: bool = True) -> str:
    """What the shades mean."""
    parts = [
        '<span class="prompt">prompt</span>',
        '<span class="mask">[MASK]</span>',
        f'<span style="background:{confidence_color(0.1)}">unsure</span>',
        f'<span style="background:{confidence_color(0.97)}">sure</span>',
        '<span class="new">bold: chosen now</span>',
    ]
    if sinks:
        parts.append('<span class="sink">attention sink</span>')
    return f'<div class="ss-legend"><span class="ss-text">{"".join(parts)}</span></div>'


def show(*parts: str) -> None:
    """Puts token HTML on the page."""
    st.html(_STYLE + "".join(parts))
