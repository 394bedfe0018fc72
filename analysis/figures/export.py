"""A page's exports: its cards, figures and tables as one HTML file that needs no server and no network, and its figures
as PNG and SVG files.

kaleido draws the pictures in a Chrome or Chromium of this machine. Neither is a requirement: without them, reports go
without pictures and say so.
"""

import asyncio
import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from jinja2 import Environment, Template
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analysis.figures.explorer import explorer_html, explorer_script
from analysis.figures.style import CLICK_HINT, PAGE_STYLE, with_tool_bar
from analysis.words import column_formats, file_name

_STYLE = """:root{color-scheme:light dark;--ink:#1c2433;--paper:#fff;--soft:#f3f5f9;--line:#d5dbe5;--dim:#5a6577}
@media (prefers-color-scheme:dark){:root{--ink:#e4e9f2;--paper:#10141d;--soft:#1a202d;--line:#323b4d;--dim:#9aa5b8}}
body{font:16px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color:var(--ink);
background:var(--paper)}h1{line-height:1.2}
h2{margin:2rem 0 .2rem}pre{background:var(--soft);padding:1rem;white-space:pre-wrap;overflow-wrap:anywhere}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;width:max-content;max-width:max(100%,60rem)}
summary{cursor:pointer}
td,th{border:1px solid var(--line);padding:.25rem .6rem;text-align:left}td:first-child{min-width:8rem}
.cards{display:flex;flex-wrap:wrap;gap:1rem}.card{border:1px solid var(--line);border-radius:.5rem;padding:.6rem 1rem}
.card b{display:block;font-size:1.6rem;overflow-wrap:anywhere}.card small{color:var(--dim)}
.subject{color:var(--dim);overflow-wrap:anywhere}
@media print{:root{--ink:#1c2433;--paper:#fff;--soft:#f3f5f9;--line:#d5dbe5;--dim:#5a6577;color-scheme:light}
body{margin:0!important;max-width:none!important;font-size:13px}section{break-inside:avoid}
h2{break-after:avoid}.card{break-inside:avoid}tr{break-inside:avoid}
table{font-size:9px;width:100%;max-width:none}td,th{padding:.1rem .25rem;overflow-wrap:anywhere}
details,.modebar{display:none!important}}"""
_PAPER = 680  # pixels: width of a plot on A4 or Letter within a browser's margins
# Plotly's script is 4.8 MB; packed it is 1.9, and figures a fifth to a half. Browsers unpack them without a network.
_UNPACK = with_tool_bar(
    """(async () => {
  %TOOL_BAR%
  const unpacked = async (element) => {
    const text = element.textContent, bytes = new Uint8Array(text.length / 5 * 4), view = new DataView(bytes.buffer);
    for (let at = 0; at < text.length; at += 5) {
      let word = 0;
      for (let i = 0; i < 5; i++) {
        const code = text.charCodeAt(at + i);
        word = word * 85 + (code === 118 ? 60 : code) - 33;
      }
      view.setUint32(at / 5 * 4, word);
    }
    const packed = new Blob([bytes.slice(0, Number(element.dataset.size))]);
    return new Response(packed.stream().pipeThrough(new DecompressionStream("gzip"))).text();
  };
  const script = document.createElement("script");
  script.textContent = await unpacked(document.getElementById("packed"));
  document.head.append(script);
  const dark = matchMedia("(prefers-color-scheme: dark)"), plots = [];
  const colors = (isDark) => {
    const ink = isDark ? "#e4e9f2" : "#1c2433", line = isDark ? "#323b4d" : "#dfe4ec";
    const clear = "rgba(0,0,0,0)", changed = {"font.color": ink, paper_bgcolor: clear, plot_bgcolor: clear};
    return (layout) => {
      for (const name of Object.keys(layout)) {
        if (/^[xy]axis\\d*$/.test(name)) {
          changed[name + ".gridcolor"] = changed[name + ".linecolor"] = changed[name + ".zerolinecolor"] = line;
        }
      }
      return changed;
    };
  };
  const recolor = (isDark) => plots.forEach(async ({plot, figure, shown}, at) => {
    if (shown !== isDark) {
      const {data, layout: {annotations, shapes}} = structuredClone(isDark ? onDark(figure) : figure);
      plots[at].shown = isDark;
      await Plotly.react(plot, data, {...plot.layout, annotations, shapes});
    }
    Plotly.relayout(plot, colors(isDark)(plot._fullLayout));
  });
  for (const element of document.querySelectorAll("script.figure")) {
    const figure = JSON.parse(await unpacked(element)), place = element.previousElementSibling;
    const saves = (format, icon) => ({name: format, title: `Save as ${format.toUpperCase()}`, icon,
      click: (plot) => Plotly.downloadImage(plot, {format, filename: element.dataset.name, scale: 3})});
    const own = [saves("png", Plotly.Icons.camera), saves("svg", Plotly.Icons.disk)];
    const {data, layout} = structuredClone(figure);
    await Plotly.newPlot(place, data, layout, {responsive: true, ...toolBar(own)});
    oneStop(place);
    plots.push({plot: place, figure, shown: false});
  }
  recolor(dark.matches);
  dark.addEventListener("change", () => recolor(dark.matches));
  const paper = (on) => {
    for (const {plot} of plots) Plotly.relayout(plot, on ? {width: PAPER} : {width: null, autosize: true});
    recolor(!on && dark.matches);
  };
  addEventListener("beforeprint", () => paper(true));
  addEventListener("afterprint", () => paper(false));
})();""".replace("PAPER", str(_PAPER))
)
# Beneath a plot the numbers are folded, as they are on the page; a table of its own is open.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<meta name="viewport" content="width=device-width">
<title>{{ title }}</title>
<style>{{ style }}</style>
</head>
<body>
<h1>{{ title }}</h1>
{% if subject %}
<p class="subject">{{ subject }}</p>
{% endif %}
{% if cards %}
<div class="cards">
{% for card in cards %}
<div class="card">{{ card.label }}<b>{{ card.value }}</b><small>{{ card.note }}</small></div>
{% endfor %}
</div>
{% endif %}
{% for exhibit in exhibits %}
<section>
<h2>{{ exhibit.title }}</h2>
<p>{{ exhibit.sentence }}</p>
{% for note in exhibit.notes %}
<p>{{ note }}</p>
{% endfor %}
{% if exhibit.explorer %}
{{ exhibit.explorer }}
{% endif %}
{% if exhibit.figure %}
<div></div><script class="figure" data-name="{{ exhibit.name }}" type="text/plain" data-size="{{ exhibit.size }}">
{{- exhibit.figure }}</script>
{% endif %}
{% if exhibit.table and exhibit.figure %}
<details><summary>Table</summary>{{ exhibit.table }}</details>
{% elif exhibit.table %}
{{ exhibit.table }}
{% endif %}
</section>
{% endfor %}
<div class="end">
<h2>Settings</h2>
<pre>{{ settings }}</pre>
</div>
{% if packed %}
<script id="packed" type="text/plain" data-size="{{ size }}">{{ packed }}</script>
<script>{{ unpack }}</script>
{% endif %}
</body>
</html>
"""


@dataclass(frozen=True)
class Exhibit:
    """One figure with its sentence and numbers, or a table or a piece of text by itself; what is empty is not shown.

    formula: Markdown of nothing but our own words and formulas. finding: what it shows beyond its null, in a sentence;
    empty where nothing is. name: its files are called after it.
    notes: paragraphs beneath the sentence. explorer: returns the bytes of an explorer (`analysis.figures.explorer`).
    """

    title: str
    sentence: str
    figure: go.Figure = field(default_factory=go.Figure)
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    formula: str = ""
    finding: str = ""
    name: str = ""
    notes: tuple[str, ...] = ()
    explorer: Callable[[], bytes] | None = None

    @property
    def told(self) -> str:
        """Finding and sentence."""
        return f"{self.finding} {self.sentence}".strip()


@dataclass(frozen=True)
class Card:
    """One number with its label and note."""

    label: str
    value: str
    note: str = ""


def page_html(
    title: str, settings: Mapping[str, Any], exhibits: Sequence[Exhibit], cards: Sequence[Card] = (), subject: str = ""
) -> str:
    """Return the whole document, with Plotly's script inside. settings: of the page, as JSON. subject: of the page,
    such as a prompt, for beneath the title.
    """
    figures = [exhibit.figure for exhibit in exhibits if exhibit.figure.data]
    size, packed = _plotly() if figures else (0, "")
    scripts = [_UNPACK, get_plotlyjs()] if figures else []
    scripts += [explorer_script()] if any(exhibit.explorer is not None for exhibit in exhibits) else []
    shown = []
    for exhibit in exhibits:
        size_packed, text = _packed(_json(exhibit.figure)) if exhibit.figure.data else (0, "")
        shown.append(
            {
                "title": exhibit.title,
                "sentence": exhibit.told,
                "notes": exhibit.notes,
                "name": file_name(exhibit.title),
                "size": size_packed,
                "figure": Markup(text),
                "table": Markup(table_html(exhibit.table)) if len(exhibit.table.columns) else None,
                "explorer": None if exhibit.explorer is None else Markup(explorer_html(exhibit.explorer())),
            }
        )
    return _template().render(
        title=title,
        style=Markup(_STYLE + PAGE_STYLE),
        cards=cards,
        subject=subject,
        policy=Markup(policy(scripts, figures)),
        exhibits=shown,
        settings=json.dumps(settings, indent=2, ensure_ascii=False, default=str),
        size=size,
        packed=Markup(packed),
        unpack=Markup(_UNPACK),
    )


@cache
def _template() -> Template:
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_PAGE)


def policy(scripts: Sequence[str], figures: Sequence[go.Figure] = ()) -> str:
    """Return the Content-Security-Policy: everything needed is inside, so nothing may be fetched or sent, and only
    these scripts run. WebGL traces compile functions.
    """
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    compiled = " 'unsafe-eval'" if any(trace.type.endswith("gl") for figure in figures for trace in figure.data) else ""
    return (
        f"default-src 'none'; script-src {allowed}{compiled}; style-src 'unsafe-inline'; img-src data: blob:; "
        "font-src data:; form-action 'none'; base-uri 'none'"
    )


def table_html(table: pd.DataFrame) -> str:
    """Return a table as HTML; pandas escapes its cells."""
    shown = table.astype(object).where(table.notna(), "")
    for name in table.select_dtypes("datetime").columns:
        shown[name] = table[name].dt.strftime("%Y-%m-%d %H:%M")
    for name, write in column_formats(table).items():
        shown[name] = table[name].map(write)
    return f'<div class="scroll">{shown.to_html(index=False, na_rep="", border=0)}</div>'


def _json(figure: go.Figure) -> str:
    """Return a figure without its hint to click."""
    shown = go.Figure(figure)
    for trace in shown.data:
        if "hovertemplate" in trace and isinstance(trace.hovertemplate, str):
            trace.hovertemplate = trace.hovertemplate.replace(CLICK_HINT, "")
    return str(shown.to_json())


@cache
def _plotly() -> tuple[int, str]:
    """Return Plotly's script, packed."""
    return _packed(get_plotlyjs())


def _packed(text: str) -> tuple[int, str]:
    """Gzip text: return its size in bytes, and itself in Ascii85, without the mark that begins a tag."""
    packed = gzip.compress(text.encode(), 9, mtime=0)
    padded = packed + bytes(-len(packed) % 4)
    return len(packed), base64.a85encode(padded).decode().replace("z", "!!!!!").replace("<", "v")


FORMATS = ("png", "svg")
_SCALE = 3  # pixels of a PNG for one of the figure's
_WIDTH = 1000  # of the figure, in pixels
_PATIENCE = 60.0  # seconds for one picture
MISSING_KALEIDO = 'PNG and SVG are left out: kaleido is not installed. `pip install "kaleido>=1.1"` adds it.'
_TRIES = 3  # browsers, as the page of one may be asked before its script has loaded
MISSING_BROWSER = (
    "PNG and SVG are left out: kaleido found no Chrome or Chromium. Install one, or name it in BROWSER_PATH."
)
NOT_DRAWN = "PNG and SVG are left out: the browser could not draw them. Try again, or name another one in BROWSER_PATH."


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

    for _ in range(_TRIES):
        try:
            with ThreadPoolExecutor(1) as apart:  # a thread of its own, as the caller's may have a running loop
                return apart.submit(asyncio.run, _drawn(figures)).result(), ""
        except ChromeNotFoundError:
            return {}, MISSING_BROWSER
        except (BrowserFailedError, TimeoutError, OSError):
            return {}, NOT_DRAWN
        except RuntimeError:  # of the page
            continue
    return {}, NOT_DRAWN


async def _drawn(figures: Mapping[str, go.Figure]) -> dict[str, bytes]:
    from kaleido import Kaleido

    found = {}
    async with Kaleido(n=1, timeout=_PATIENCE, mathjax=False) as drawer:
        for name, figure in figures.items():
            for kind in FORMATS:
                options = {"format": kind, "scale": _SCALE if kind == "png" else 1, "width": _WIDTH}
                found[f"{name}.{kind}"] = bytes(await drawer.calc_fig(figure, opts=options))
    return found
