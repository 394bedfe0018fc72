"""Text as coloured tokens while it is written: shade = confidence, dashed = not decided yet."""

from collections.abc import Sequence
from html import escape

import streamlit as st

from analysis.figures.style import TOKEN
from analysis.sinks.step_inputs import TokenState
from analysis.words import percent

_STYLE = """<style>
.ss-text{line-height:2.15;font-size:1rem;padding:.35rem 0}
.ss-text span{display:inline-block;line-height:1.45;padding:0 .32em;margin:0 .1em;
  border-radius:.3em;border:2px solid transparent;white-space:pre}
.ss-text .mask{color:color-mix(in srgb,currentColor 75%,transparent);border:2px dashed rgba(128,138,156,.4);
  background:transparent;font-size:.78em}
.ss-text .new{font-weight:700}
.ss-text .accepted{border:2px dashed BLOCK}
.ss-text .edge{padding:0;margin:0 .2em;border:0;border-left:3px solid BLOCK;border-radius:0}
.ss-text .prompt{background:rgba(128,138,156,.16)}
.ss-text .changed{background:rgba(240,160,32,.38)}
.ss-text .gap{padding:0;margin:0 .1em;border:0;border-left:3px solid rgba(240,160,32,.9);border-radius:0}
.ss-text .written{border-color:BLOCK;font-weight:700}
.ss-legend{font-size:.82rem}
.ss-legend .ss-text{display:inline;padding:0;font-size:.82rem}
</style>""".replace("BLOCK", TOKEN)


def confidence_color(confidence: float) -> str:
    """Shade of a token by the probability it was chosen with: the more confident, the bluer."""
    return f"rgba(58,124,232,{0.1 + 0.45 * confidence:.2f})"


def states_of(undecided: Sequence[bool], prompt_length: int) -> list[int]:
    """Return each token's state if tokens are written once, from which are undecided."""
    return [
        TokenState.UNDECIDED if flag else TokenState.GIVEN if position < prompt_length else TokenState.COMMITTED
        for position, flag in enumerate(undecided)
    ]


def token_text(
    labels: Sequence[str],
    states: Sequence[int],
    confidence: Sequence[float | None],
    new: Sequence[bool],
    open_block: Sequence[int] | None = None,
    random_tokens: bool = False,
) -> str:
    """Return the HTML of a text being written. states: a `TokenState` each. confidence: probability each token was
    chosen with, None if it was not (yet). new: chosen by the last step. open_block: positions to draw its border at,
    from and to. random_tokens: undecided tokens are random ones, which are shown; else [MASK].

    All text is escaped: a model or a prompt may write markup.
    """
    spans = []
    for index, label in enumerate(labels):
        if open_block is not None and index in open_block:
            spans.append(_EDGE)
        if not label:
            continue
        kinds, style, notes = [], "", [f"position {index}"]
        sure, undecided = confidence[index], states[index] == TokenState.UNDECIDED
        if undecided:
            kinds.append("mask")
            if random_tokens:
                notes.append("undecided: a random token")
        elif states[index] == TokenState.GIVEN:
            kinds.append("prompt")
            notes.append("prompt")
        elif sure is not None:
            style = f' style="background:{confidence_color(sure)}"'
            notes.append(f"confidence {percent(sure, 0)}")
        if states[index] == TokenState.ACCEPTED:
            kinds.append("accepted")
            notes.append("may be taken back")
        if new[index]:
            kinds.append("new")
            notes.append("chosen in this step")
        text = "[MASK]" if undecided and not random_tokens else (label.replace("\n", "⏎").strip() or "␣")
        classes = f' class="{" ".join(kinds)}"' if kinds else ""
        spans.append(f'<span{classes}{style} title="{escape(" · ".join(notes))}">{escape(text)}</span>')
    if open_block is not None and open_block[1] == len(labels):
        spans.append(_EDGE)
    return f'<div class="ss-text" role="group" aria-label="Text of this step">{"".join(spans)}</div>'


_EDGE = '<span class="edge" title="border of the open block" aria-hidden="true">&#8203;</span>'


def changed_text(
    words: Sequence[str], same: Sequence[bool], written: int | None = None, missing: Sequence[int] = ()
) -> str:
    """Return the HTML of a written text of N tokens beside another: tokens not in both are shaded. written: the one
    that a person wrote, which is outlined. missing: number of the other's tokens left out before each, and at the end
    (N + 1,), marked by an upright line.
    """
    spans = []
    left_out = list(missing) or [0] * (len(words) + 1)
    for index, (word, unchanged) in enumerate(zip(words, same, strict=True)):
        kinds = [name for name, holds in (("changed", not unchanged), ("written", index == written)) if holds]
        classes = f' class="{" ".join(kinds)}"' if kinds else ""
        spans.append(_gap(left_out[index]))
        spans.append(f"<span{classes}>{escape(word.replace(chr(10), '⏎').strip() or '␣')}</span>")
    spans.append(_gap(left_out[len(words)]))
    return f'<div class="ss-text" role="group" aria-label="Text with its changes">{"".join(spans)}</div>'


def _gap(count: int) -> str:
    told = f"{count} token{'s' if count > 1 else ''} left out here"
    return f'<span class="gap" role="img" aria-label="{told}" title="{told}">&#8203;</span>' if count else ""


def legend(blocks: bool = False, random_tokens: bool = False) -> str:
    """Return the legend of the shades; with blocks, their borders too. random_tokens: see `token_text`."""
    parts = [
        '<span class="prompt">prompt</span>',
        f'<span class="mask">{"undecided: noise" if random_tokens else "[MASK]"}</span>',
        f'<span style="background:{confidence_color(0.1)}">unsure</span>',
        f'<span style="background:{confidence_color(0.97)}">sure</span>',
        '<span class="new">bold: chosen now</span>',
    ]
    if blocks:
        parts.append(f"{_EDGE} open block {_EDGE}")
    return f'<div class="ss-legend"><span class="ss-text">{"".join(parts)}</span></div>'


def show(*parts: str) -> None:
    """Put token HTML on the page."""
    st.html(_STYLE + "".join(parts))
