"""The story's figures as HTML: they keep their font size at any width, print, and follow the page's theme.

Data in, markup out; all text is escaped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil, floor, log10
from typing import Any

from jinja2 import Environment, Template
from markupsafe import Markup

from analysis.figures.style import on_page
from analysis.words import glued, percent

SINK, NULL = "sink", "null"
"""Tones of a mark: sinks and what discounts them, and what they are held against."""
_PROMPT = 90  # characters of a prompt before the text that goes on from it


@dataclass(frozen=True)
class Mark:
    """A row of a chart: a bar from zero, or a dot with its interval. told: its numbers as text, beside a bar and right
    of dots. aside: by how much another row differs, in a column of its own.

    tone: SINK or NULL. low, high: of its interval, None where there is none. filled: whether a dot is filled, which
    says that the difference is significant. beat: the sentence that speaks of it.
    """

    label: str
    value: float
    told: str
    tone: str = SINK
    low: float | None = None
    high: float | None = None
    filled: bool = True
    beat: int = 0
    aside: str = ""


@dataclass(frozen=True)
class Group:
    """Rows beneath a heading. aside: the heading of what stands aside of them."""

    title: str
    marks: tuple[Mark, ...]
    aside: str = ""


def bars(
    groups: Sequence[Group],
    axis: str,
    scale: float = 1.0,
    whisker: str = "95 % interval",
    line: tuple[float, str] | None = None,
) -> Markup:
    """Draw bars from zero, all whole and on one scale. axis: what is drawn, with its unit; scale: from a value to that
    unit. whisker: what reaches from low to high. line: a value that all are held against, and what it is.
    """
    most = max(map(_reach, _marks(groups)), default=0.0) or 1.0
    keys = {"line": whisker} if any(mark.low is not None for mark in _marks(groups)) else {}
    if line is not None:
        keys["rule"] = line[1]
    return _chart(groups, axis, scale, 0.0, 1.04 * most, keys, line=None if line is None else line[0], bar=True)


def few_bars(heading: str, marks: Sequence[Mark], line: float | None = None) -> Markup:
    """Draw a few bars from zero beneath what they are, without ticks: their numbers stand beside them. line: a value
    that all are held against, which the heading names.
    """
    most = max(map(_reach, marks), default=0.0) or 1.0
    return _chart([Group(heading, tuple(marks))], "", 1.0, 0.0, 1.04 * most, {}, line=line, bar=True)


def intervals(
    groups: Sequence[Group], axis: str, scale: float, margin: float | None = None, margin_told: str = ""
) -> Markup:
    """Draw differences from zero with their intervals, all on one scale. margin: half-width of the equivalence band,
    and it as text; None where none is drawn.
    """
    ends = [end for mark in _marks(groups) for end in (mark.value, mark.low, mark.high) if end is not None]
    ends += [-margin, margin] if margin is not None else [0.0]
    low, high = min(ends), max(ends)
    room = 0.04 * (high - low or 1.0)
    keys = {"line": "95 % interval", "dot": "significant", "dot hollow": "not significant"}
    for name, filled in (("dot", True), ("dot hollow", False)):
        if all(mark.filled is not filled for mark in _marks(groups)):
            keys.pop(name)
    if "dot" not in keys:
        keys["dot hollow"] = "estimate"
    if margin is not None:
        keys["band"] = f"margin ±{margin_told}, fixed beforehand"
    return _chart(groups, axis, scale, low - room, high + room, keys, margin, 0.0)


def _reach(mark: Mark) -> float:
    return max(mark.value, mark.high or 0.0)


def _marks(groups: Sequence[Group]) -> list[Mark]:
    return [mark for group in groups for mark in group.marks]


def _chart(
    groups: Sequence[Group],
    axis: str,
    scale: float,
    low: float,
    high: float,
    keys: Mapping[str, str],
    margin: float | None = None,
    line: float | None = None,
    bar: bool = False,
) -> Markup:
    """Draw rows on one scale. keys: what each kind of mark is, by its class. margin: half-width of a band around zero.
    line: where a vertical line stands. bar: whether marks are bars. axis: empty for a chart without ticks.
    """

    def at(value: float) -> str:
        return f"{100 * (min(max(value, low), high) - low) / (high - low):.2f}%"

    def end(mark: Mark) -> str:
        return f"{(_reach(mark) - low) / (high - low):.4f}"

    def wide(first: float, last: float) -> str:
        return f"left:{at(first)};width:calc({at(last)} - {at(first)})"

    ticks = {at(tick / scale): f"{tick:g}".replace("-", "−") for tick in _ticks(scale * low, scale * high)}
    label, told, aside = (
        _room([getattr(each, name) for each in _marks(groups)]) for name in ("label", "told", "aside")
    )
    drawn = {"groups": groups, "axis": axis, "keys": keys, "margin": margin, "line": line, "bar": bar}
    return _html(_CHART, **drawn, at=at, end=end, wide=wide, ticks=ticks, label=label, value=told, aside=aside)


_CHART = """
<div class="chart{{ "" if axis else " few" }}" style="--label:{{ label }};--value:{{ value }};--aside:{{ aside }}">
{% for group in groups %}
<div class="panel">
{% if group.title %}<div class="group">{{ group.title | glued }}
{%- if group.aside %}<span>{{ group.aside }}</span>{% endif %}</div>{% endif %}
{% for mark in group.marks %}
<div class="row {{ mark.tone }}{{ " ends" if bar }}" data-beat="{{ mark.beat }}"
{% if bar %} style="--end:{{ end(mark) }}"{% endif %}><span class="label">{{ mark.label }}</span>
<span class="track" aria-hidden="true">
{% if margin is not none %}<i class="band" style="{{ wide(-margin, margin) }}"></i>{% endif %}
{% if line is not none and not bar %}<i class="zero" style="left:{{ at(line) }}"></i>{% endif %}
{% if bar %}<i class="bar" style="{{ wide(0.0, mark.value) }}"></i>{% endif %}
{% if mark.low is not none and mark.high is not none %}
<i class="whisker" style="{{ wide(mark.low, mark.high) }}"></i>
{% endif %}
{% if not bar %}
<i class="dot{{ "" if mark.filled else " hollow" }}" style="left:{{ at(mark.value) }}"></i>
{% elif line is not none %}
<i class="zero" style="left:{{ at(line) }}"></i>
{% endif %}
</span><span class="told"><span class="value">{{ mark.told | glued }}</span>
{% if mark.aside %}<span> {{ mark.aside | glued }}</span>{% endif %}</span></div>
{% endfor %}
</div>
{% endfor %}
{% if axis %}
<div class="row ticks" aria-hidden="true"><span class="label"></span><span class="track">
{% for place, tick in ticks.items() %}<i style="left:{{ place }}">{{ tick }}</i>{% endfor %}
</span></div>
<div class="axis"><b>{{ axis }}</b>
{% for kind, name in keys.items() %}<span><i class="key {{ kind }}"></i>{{ name }}</span>{% endfor %}
</div>
{% endif %}
</div>"""


@cache
def _template(text: str) -> Template:
    """Return a template, of whose lines one goes on where the one before ends."""
    environment = Environment(autoescape=True)
    environment.filters |= {"glued": glued, "shown": _shown}
    environment.globals |= {"percent": percent, "on_page": on_page}
    return environment.from_string("".join(text.splitlines()))


def _html(template: str, **values: Any) -> Markup:
    return Markup(_template(template).render(**values))


def _room(texts: Sequence[str]) -> str:
    """Return the width of a column of texts, none of an empty one."""
    longest = max(map(len, texts), default=0)
    return f"{0.6 * longest + 0.4:.1f}em" if longest else "0em"


def _ticks(low: float, high: float) -> list[float]:
    """Return at most six round values from low to high."""
    rough = (high - low) / 5
    power = 10.0 ** floor(log10(rough))
    step = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= rough)
    return [float(f"{step * count:.6g}") for count in range(ceil(low / step), floor(high / step) + 1)]


# --- kinds of tokens ----------------------------------------------------------------------------------------------


_LEAST_PART = 0.01  # of a row; a smaller part is not drawn, nor in the legend


def stacks(groups: Mapping[str, Mapping[str, Mapping[str, float]]], colors: Mapping[str, str], axis: str) -> Markup:
    """Draw the parts of each row as one bar. groups: title -> row -> part -> share of the row. A part below
    `_LEAST_PART` leaves its place empty."""
    rows = [parts for by_row in groups.values() for parts in by_row.values()]
    named = [name for name in colors if any(parts.get(name, 0.0) >= _LEAST_PART for parts in rows)]
    return _html(_STACKS, groups=groups, colors=colors, axis=axis, named=named, least=_LEAST_PART)


_STACKS = """
<div class="chart stacks"><div class="legend">
{% for name in named %}
<span><i class="key" style="background:{{ on_page(colors[name]) }}"></i>{{ name }}</span>
{% endfor %}
</div>
{% for title, by_row in groups.items() %}
<div class="panel"><div class="group">{{ title }}</div>
{% set beat = loop.index0 %}
{% for label, parts in by_row.items() %}
<div class="row stack" data-beat="{{ beat }}"><span class="label">{{ label }}</span><span class="track">
{% for name, share in parts.items() if share >= least %}
<i class="part" style="width:{{ "%.2f" % (100 * share) }}%;background:{{ on_page(colors[name]) }};
color:{{ on_page(colors[name], true) }}" title="{{ name }}: {{ percent(share, 0) }}">
<b>{{ percent(share, 0) if share >= 0.15 }}</b></i>
{% endfor %}
</span></div>
{% endfor %}
</div>
{% endfor %}
<div class="axis">{{ axis }}</div></div>"""


# --- texts --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Token:
    """A token and the attention it draws. share: × uniform attention. masked: still undecided. told: its share as text,
    of a sink.
    """

    text: str
    share: float
    sink: bool
    masked: bool
    told: str = ""


def skyline(tokens: Sequence[Token], where: str) -> Markup:
    """Draw a bar over each token of a text, that of a sink beneath its share, and a line at uniform attention. where:
    the step they are of, and what the marks are.
    """
    most = max([1.0, *(token.share for token in tokens)])
    return _html(_SKYLINE, tokens=tokens, where=where, most=most)


_SKYLINE = """
<div class="skyline" style="--even:{{ "%.3f" % (1 / most) }}"><span class="drawn">attention</span>
<span class="even"><span>even split 1 ×</span></span>
{% for token in tokens %}
{% set edge = (loop.first or loop.last) and tokens | length > 7 %}
<span class="column {{ (["sink"] * token.sink + ["masked"] * token.masked + ["edge"] * edge) | join(" ") }}">
<span class="space"><i style="height:{{ "%.1f" % (100 * token.share / most) }}%">
{% if token.told %}<b>{{ token.told }} ×</b>{% endif %}
</i></span><span class="word">
{%- if token.masked %}<small>{{ token.text | shown }}</small>{% else %}{{ token.text | shown }}{% endif %}</span></span>
{% endfor %}
</div><div class="axis">{{ where }}</div>"""


def caption(text: str) -> Markup:
    """Return what a picture shows, beneath it, with the words before a colon in bold; nothing for no text."""
    lead, colon, rest = glued(text).partition(":")
    return Markup('<p class="beneath"><b>{}</b>{}</p>').format(lead + colon, rest) if text else Markup()


@dataclass(frozen=True)
class Line:
    """A text under its title. same: which tokens it shares with the first text; None for the first text itself. end: of
    its tokens up to where it ends; those beyond are faint.
    """

    title: str
    tokens: tuple[str, ...]
    same: tuple[bool, ...] | None
    end: int
    beat: int = 0


def aligned(prompt: str, which: str, lines: Sequence[Line]) -> Markup:
    """Draw texts that continue one prompt, shaded where they differ from the first before they end. which: prompt it
    is."""
    return _html(_ALIGNED, prompt=_end(prompt), which=which, lines=lines)


_ALIGNED = """
<div class="texts"><p class="prompt">{{ which }}: {{ prompt }}</p>
{% for line in lines %}
<div class="line" data-beat="{{ line.beat }}"><p class="of">{{ line.title }}</p><p>
{% for token in line.tokens %}
{% set counted = loop.index0 < line.end %}
{% set kind = "mark" if counted and line.same is not none and not line.same[loop.index0] else "span" %}
<{{ kind }}{% if not counted %} class="beyond"{% endif %}>{{ token | shown }}</{{ kind }}>{{ " " }}
{% endfor %}
</p></div>
{% endfor %}
</div>"""


def _end(prompt: str) -> str:
    """Return the last words of a prompt."""
    return prompt if len(prompt) <= _PROMPT else f"… {prompt[-_PROMPT:].partition(' ')[2]}"


def _shown(token: str) -> str:
    """Return a token with line breaks as marks, as they would be lost."""
    return token.replace("\n", "⏎").strip() or "␣"
