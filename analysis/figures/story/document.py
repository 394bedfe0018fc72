"""The story as one HTML file: findings beside the player, slides, the explorer, and an appendix behind a link.

It needs no server and no network, and no script runs in it but its own.
"""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pandas as pd
from jinja2 import Environment, Template
from markupsafe import Markup

from analysis.figures.explorer import explorer_html, explorer_script
from analysis.figures.export import policy, table_html
from analysis.figures.player import player_html, player_script
from analysis.figures.story import Story, answers_html, file_script, findings_html, picture_html, slides_html, story_css
from analysis.words import glued

_STYLE = """:root{color-scheme:light dark;--page-ink:#1c2433;--page-paper:#fff;--page-line:#d5dbe5;--page-dim:#566073}
@media (prefers-color-scheme:dark){:root{--page-ink:#e4e9f2;--page-paper:#10141d;--page-line:#3a4456;
--page-dim:#a3aebf}}
*{box-sizing:border-box}
body{margin:0;font:16px/1.5 system-ui,sans-serif;color:var(--page-ink);background:var(--page-paper)}
main{max-width:1240px;margin:0 auto;padding:1.5rem 2rem 3rem}
h1{font-size:1.75rem;line-height:1.15;margin:0 0 .7rem;text-wrap:balance}h2{line-height:1.25;margin:0 0 .6rem}
.what{margin:0 0 .6rem;text-wrap:pretty}.fine{color:var(--page-dim);font-size:.9rem;margin:0 0 .6rem}
.answers{border:1px solid var(--page-line);border-radius:.5rem;padding:.8rem 1rem;margin:.6rem 0}
nav a{display:inline-block;border:1px solid var(--page-line);border-radius:.5rem;padding:.4rem .8rem;
margin:0 .4rem .4rem 0;color:inherit;text-decoration:none;font-weight:600}
nav a:first-child{background:#1f5fbf;border-color:#1f5fbf;color:#fff}
:focus-visible{outline:2px solid currentColor;outline-offset:2px}
.scene{display:grid;gap:0 2rem;grid-template-columns:minmax(0,1fr);--player-size:.84rem}
.first .answers{margin:.4rem 0 .6rem}.first p{line-height:1.4}.stage{margin:1rem 0}.stage h2{font-size:1.1rem}
@media (min-width:1000px){.scene{grid-template-columns:repeat(2,minmax(0,1fr));}
.stage{margin:0}h1{font-size:1.5rem}.stage>div{position:sticky;top:1.5rem}}
#explore,#appendix{border-top:1px solid var(--page-line);padding-top:2rem;margin-top:1rem}
#appendix>summary h2{display:inline;font-size:1.35rem}
summary{cursor:pointer;min-height:24px}details details{margin:.5rem 0}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem}td,th{border:1px solid var(--page-line);
padding:.2rem .5rem;text-align:left}pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.85rem}
@media (max-width:640px){main{padding:1rem 1rem 2rem}h1{font-size:1.45rem}
.first{display:flex;flex-direction:column}.first>.made{order:1}.first .skyline{--tall:3em}
.first h1{font-size:1.15rem;margin-bottom:.2rem}.first .what{margin:0 0 .4rem}.first .answers{margin:.4rem 0}
.first .fine{margin:0 0 .2rem}
.first .answers{padding:.5rem .8rem;font-size:.92rem}.first .answers p{line-height:1.3}
.first .answers b{text-wrap:pretty}
main .finding{padding:1.6rem 0;gap:.7rem}main .finding p{margin-bottom:.7rem;line-height:1.5}
main .finding .chart{font-size:.93em}main .finding .row:not(.stack,.ticks){--pad:.35em}
main .finding .row.stack .track{height:1.6em}}
.presents main{display:none}
@page{size:A4;margin:14mm}
@media print{:root{--page-ink:#1c2433;--page-paper:#fff;--page-line:#ccc;--page-dim:#555;color-scheme:light}
main{max-width:none;padding:0}body{font-size:10.5pt}.scene{display:block}.stage{margin:.3rem 0 0}
.stage>div{position:static}
nav,#explore,#appendix:not([open]){display:none}tr{break-inside:avoid}h2,h3{break-after:avoid}table{font-size:7pt}}"""
_PRINTED_SLIDES = "@page{size:1280px 720px;margin:0}"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ story.question }}</title>
<style>{{ style }}</style>
<style id="printed-slides" media="not all">{{ printed_slides }}</style>
</head>
<body>
<main>
<div class="scene">
<header class="first">
<p class="fine made">{{ story.made }}</p>
<h1>{{ story.question }}</h1>
<p class="fine size">{{ story.about | glued }} {{ story.thin | glued }} {{ story.reading | glued }}</p>
<p class="what">{{ story.what }}</p>
{{ picture if story.picture }}
{{ answers or "<p>The finished parts support no answer yet.</p>" | safe }}
<nav aria-label="This report"><a href="#slide-1">Present</a>
{%- if explorer %}<a href="#explore">Explore</a>{% endif %}<a href="#appendix">Appendix</a></nav>
</header>
{% if player %}
<div class="stage"><div><h2>A text being written<span class="live">: press play</span></h2>{{ player }}</div></div>
{% endif %}
</div>
{{ findings }}
{% if explorer %}
<section id="explore">
<h2>Explore the recording</h2>
{{ explorer }}
</section>
{% endif %}
<details id="appendix">
<summary><h2>Appendix: tables and numbers</h2></summary>
{% for part in appendix %}
<section>
<h3>{{ part.title }}</h3>
{% for line in part.lines %}
<p>{{ line }}</p>
{% endfor %}
{% for name, table in part.tables %}
<details><summary>{{ name }}</summary>{{ table }}</details>
{% endfor %}
</section>
{% endfor %}
<h3>Settings</h3>
<pre>{{ settings }}</pre>
<p><a id="numbers" download="study.json" href="#numbers">All numbers as JSON</a></p>
<script type="text/plain" id="packed-numbers">{{ numbers }}</script>
</details>
</main>
{{ slides }}
<script type="module">{{ script }}</script>
</body>
</html>
"""


@dataclass(frozen=True)
class Appendix:
    """A part of the appendix: its title, paragraphs, and tables by their titles."""

    title: str
    lines: tuple[str, ...] = ()
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)


def document_html(
    story: Story,
    playback: Mapping[str, Any] | None,
    explorer: str,
    appendix: Sequence[Appendix],
    settings: Mapping[str, Any],
    numbers: Mapping[str, Any],
) -> str:
    """Return the whole document. playback: what the player takes, None without recordings. explorer: `packed_text` of
    the recordings, empty without. settings: what the study asked; numbers: all of it, for the link to them.
    """
    scripts = [file_script()]
    scripts += [player_script()] if playback is not None else []
    scripts += [explorer_script()] if explorer else []
    return _template().render(
        story=story,
        style=Markup(_STYLE + story_css()),
        printed_slides=Markup(_PRINTED_SLIDES),
        policy=Markup(policy(scripts)),
        picture=picture_html(story),
        answers=answers_html(story.answers) if story.answers else "",
        player="" if playback is None else Markup(player_html(dict(playback))),
        findings=findings_html(story.findings) if story.findings else "",
        explorer=Markup(explorer_html(explorer)) if explorer else "",
        appendix=[
            {
                "title": part.title,
                "lines": part.lines,
                "tables": [(name, Markup(table_html(table))) for name, table in part.tables.items()],
            }
            for part in appendix
        ],
        settings=json.dumps(settings, indent=2, ensure_ascii=False, default=str),
        numbers=base64.b64encode(zlib.compress(json.dumps(numbers, ensure_ascii=False).encode(), 9)).decode(),
        slides=slides_html(story, hidden=True),
        script=Markup(file_script()),
    )


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["glued"] = glued
    return environment.from_string(_PAGE)
