"""The story's figures as HTML: they keep their font size at any width, print, and follow the page's theme.

Data in, markup out; all text is escaped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from markupsafe import Markup, escape

from analysis.figures.style import ink_on
from analysis.words import glued, percent

MODEL, NULL = "model", "null"
"""Tones of a mark: what was measured, or what it is held against."""
_FAR = 2.0  # times the second longest bar, from where on a bar may be cut
_CUT_ROOM = 1.15  # of the axis beyond the second longest bar, for the break
_PROMPT = 90  # characters of a prompt before the text that goes on from it


@dataclass(frozen=True)
class Mark:
    """A row of a chart: a bar from zero, or a dot with its interval. told: its numbers as text, on the right.

    tone: MODEL or NULL. low, high: of its interval, None where there is none. dots: single values. filled:
    whether a dot is filled, which says that the difference is significant. beat: the sentence that speaks of it.
    """

    label: str
    value: float
    told: str
    tone: str = MODEL
    low: float | None = None
    high: float | None = None
    dots: tuple[float, ...] = ()
    filled: bool = True
    beat: int = 0


@dataclass(frozen=True)
class Group:
    """Rows beneath a heading."""

    title: str
    marks: tuple[Mark, ...]


def bars(
    groups: Sequence[Group],
    axis: str,
    scale: float = 1.0,
    dot: str = "",
    line: tuple[float, str] | None = None,
    cut: bool = False,
) -> Markup:
    """Draw bars from zero, all on one scale. axis: what is drawn, with its unit; scale: from a value to that unit. dot:
    what each dot beside a bar is. line: a value that all are held against, and what it is. cut: end the axis beyond the
    second longest bar where the longest is a null far beyond it, which is then drawn broken, with its number.
    """
    ordered = sorted(_marks(groups), key=_reach)
    most, last = (_reach(ordered[-1]), ordered[-1]) if ordered else (0.0, None)
    second = _reach(ordered[-2]) if len(ordered) > 1 else 0.0
    broken = cut and last is not None and last.tone == NULL and last.value > _FAR * second > 0
    most = (second if broken else most) or 1.0
    keys = {"run": dot} if any(mark.dots for mark in _marks(groups)) else {}
    if any(mark.low is not None for mark in _marks(groups)):
        keys["line"] = "95 % interval"
    if line is not None:
        keys["dash"] = line[1]
    if broken and last is not None:
        keys["gap"] = f"cut, ends at {last.told.partition(' [')[0]}"
    room = _CUT_ROOM if broken else 1.04
    return _chart(groups, axis, scale, 0.0, room * most, keys, line=None if line is None else line[0], bar=True)


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
    if margin is not None:
        keys["band"] = f"margin ±{margin_told}, fixed beforehand"
    return _chart(groups, axis, scale, low - room, high + room, keys, margin, 0.0)


def _reach(mark: Mark) -> float:
    return max(mark.value, mark.high or 0.0, *mark.dots)


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
    line: where a vertical line stands. bar: whether marks are bars.
    """

    def at(value: float) -> str:
        return f"{100 * (min(max(value, low), high) - low) / (high - low):.2f}%"

    def wide(first: float, last: float) -> str:
        return f"left:{at(first)};width:calc({at(last)} - {at(first)})"

    band = "" if margin is None else Markup('<i class="band" style="{}"></i>').format(wide(-margin, margin))
    panels = []
    for group in groups:
        rows = [Markup('<div class="group">{}</div>').format(group.title)] if group.title else []
        for mark in group.marks:
            drawn = Markup('<i class="bar" style="{}"></i>').format(wide(0.0, mark.value)) if bar else Markup()
            if bar and mark.value > high:
                drawn = Markup('<i class="bar cut" style="width:100%"><i class="gap"></i></i>')
            elif mark.low is not None and mark.high is not None:
                drawn += Markup('<i class="whisker" style="{}"></i>').format(wide(mark.low, mark.high))
            drawn += Markup().join(Markup('<i class="run" style="left:{}"></i>').format(at(dot)) for dot in mark.dots)
            if not bar:
                hollow = "" if mark.filled else " hollow"
                drawn += Markup('<i class="dot{}" style="left:{}"></i>').format(hollow, at(mark.value))
            held = Markup() if line is None else Markup('<i class="zero" style="left:{}"></i>').format(at(line))
            rows.append(
                Markup(
                    '<div class="row {}" data-beat="{}"><span class="label">{}</span><span class="track" '
                    'aria-hidden="true">{}{}{}</span><span class="told">{}</span></div>'
                ).format(
                    mark.tone, mark.beat, mark.label, band, *((drawn, held) if bar else (held, drawn)), glued(mark.told)
                )
            )
        panels.append(_panel(rows))
    ticks = Markup().join(
        Markup('<i style="left:{}">{}</i>').format(at(tick / scale), f"{tick:g}".replace("-", "−"))
        for tick in _ticks(scale * low, scale * high)
    )
    told = Markup().join(Markup('<span><i class="key {}"></i>{}</span>').format(*key) for key in keys.items())
    foot = Markup(
        '<div class="row ticks" aria-hidden="true"><span class="label"></span><span class="track">{}</span>'
        '</div><div class="axis"><b>{}</b>{}</div>'
    ).format(ticks, axis, told)
    marks = _marks(groups)
    label, words = (_room(text) for text in ([mark.label for mark in marks], [mark.told for mark in marks]))
    style = f"--label:{label:.1f}em;--told:{words:.1f}em"
    return Markup('<div class="chart" style="{}">{}{}</div>').format(style, Markup().join(panels), foot)


def _room(texts: Sequence[str]) -> float:
    """Return the width of a column of texts, in em."""
    return 0.6 * max(map(len, texts), default=0) + 0.4


def _panel(rows: Sequence[Markup]) -> Markup:
    return Markup('<div class="panel">{}</div>').format(Markup().join(rows))


def _ticks(low: float, high: float) -> list[float]:
    """Return at most six round values from low to high."""
    rough = (high - low) / 5
    power = 10.0 ** floor(log10(rough))
    step = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= rough)
    return [float(f"{step * count:.6g}") for count in range(ceil(low / step), floor(high / step) + 1)]


# --- kinds of tokens ----------------------------------------------------------------------------------------------


def stacks(groups: Mapping[str, Mapping[str, Mapping[str, float]]], colors: Mapping[str, str], axis: str) -> Markup:
    """Draw the parts of each row as one bar of full length. groups: title -> row -> part -> share of the row."""
    panels, named = [], []
    for beat, (title, by_row) in enumerate(groups.items()):
        rows = [Markup('<div class="group">{}</div>').format(title)]
        for label, parts in by_row.items():
            drawn = []
            for name, share in parts.items():
                if share < 0.005:
                    continue
                named += [name] if name not in named else []
                text = percent(share, 0) if share >= 0.15 else ""
                drawn.append(
                    Markup(
                        '<i class="part" style="width:{:.2f}%;background:{};color:{}" title="{}"><b>{}</b></i>'
                    ).format(100 * share, colors[name], ink_on(colors[name]), f"{name}: {percent(share, 0)}", text)
                )
            rows.append(
                Markup(
                    '<div class="row stack" data-beat="{}"><span class="label">{}</span><span class="track">{}'
                    "</span></div>"
                ).format(beat, label, Markup().join(drawn))
            )
        panels.append(_panel(rows))
    legend = Markup().join(
        Markup('<span><i class="key" style="background:{}"></i>{}</span>').format(colors[name], name) for name in named
    )
    return Markup('<div class="chart stacks"><div class="legend">{}</div>{}<div class="axis">{}</div></div>').format(
        legend, Markup().join(panels), axis
    )


# --- texts --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Token:
    """A token and the attention it draws. share: × uniform attention. masked: still undecided."""

    text: str
    share: float
    sink: bool
    masked: bool


def skyline(tokens: Sequence[Token], told: str, where: str) -> Markup:
    """Draw a bar over each token of a text, and a line at uniform attention. told: the label of the highest bar,
    as a multiple of it. where: which tokens of which step these are.
    """
    most = max((token.share for token in tokens), default=1.0) or 1.0
    top = max(range(len(tokens)), key=lambda at: tokens[at].share) if tokens else -1
    even = f"{1 / max(most, 1.0):.3f}"
    columns = []
    for at, token in enumerate(tokens):
        kind = " ".join(name for name, holds in (("sink", token.sink), ("masked", token.masked)) if holds)
        label = Markup("<b>{}</b>").format(told) if at == top and told else ""
        columns.append(
            Markup(
                '<span class="column {}"><span class="space"><i style="height:{:.1f}%">{}</i></span><span class="word">'
                "{}</span></span>"
            ).format(kind, 100 * token.share / max(most, 1.0), label, "" if token.masked else _shown(token.text))
        )
    return Markup(
        '<div class="skyline" style="--even:{}"><span class="drawn">attention</span>'
        '<span class="even"><span>even split, 1 ×</span>'
        '</span>{}</div><div class="axis">{}</div>'
    ).format(even, Markup().join(columns), where)


def caption(text: str) -> Markup:
    """Return what a picture shows, beneath it, with the words before a colon in bold; nothing for no text."""
    lead, colon, rest = glued(text).partition(":")
    return Markup('<p class="beneath"><b>{}</b>{}</p>').format(lead + colon, rest) if text else Markup()


@dataclass(frozen=True)
class Line:
    """A text under its title. same: which tokens it shares with the first text; None for the first text itself."""

    title: str
    tokens: tuple[str, ...]
    same: tuple[bool, ...] | None
    beat: int = 0


def aligned(prompt: str, lines: Sequence[Line]) -> Markup:
    """Draw texts that continue one prompt, shaded where they differ from the first."""
    shown = Markup()
    for line in lines:
        words = Markup()
        for at, token in enumerate(line.tokens):
            other = line.same is not None and not line.same[at]
            words += Markup("<mark>{}</mark> " if other else "<span>{}</span> ").format(_shown(token))
        shown += Markup('<div class="line" data-beat="{}"><p class="of">{}</p><p>{}</p></div>').format(
            line.beat, line.title, words
        )
    return Markup('<div class="texts"><p class="prompt">{}</p>{}</div>').format(_end(prompt), shown)


def _end(prompt: str) -> str:
    """Return the last words of a prompt."""
    return prompt if len(prompt) <= _PROMPT else f"… {prompt[-_PROMPT:].partition(' ')[2]}"


def _shown(token: str) -> Markup:
    """Return a token as markup; line breaks become marks, as they would be lost."""
    return escape(token.replace("\n", "⏎").strip() or "␣")
