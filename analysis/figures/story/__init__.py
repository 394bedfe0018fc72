"""The story of a study as HTML, for page, slides and report alike: findings and slides, their scripts and style."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, Template
from markupsafe import Markup, escape

from analysis.figures.explorer import colors_js
from analysis.figures.style import REFERENCE
from analysis.words import glued

_FOLDER = Path(__file__).parent
CANNOT_TELL = "This study cannot tell"

_FINDINGS = """{% for told in findings %}
<section class="finding" id="{{ told.name }}" {% if told.plays %}data-plays="1"{% endif %}
 aria-labelledby="title-{{ told.name }}">
<header class="head">
<p class="count">{{ loop.index }} of {{ loop.length }}</p>
<h2 id="title-{{ told.name }}">{{ told.title | whole }}</h2>
</header>
<figure aria-label="{{ told.alt }}">{{ told.figure }}</figure>
<div class="words">
<div class="steps">
{% for beat in told.beats %}
<p class="beat" data-beat="{{ loop.index0 }}">{{ beat | whole }}</p>
{% endfor %}
</div>
{% if told.meaning %}<p class="meaning"><b>In practice:</b> {{ told.meaning | whole }}</p>{% endif %}
<p class="caveat"><b>Limits:</b> {{ told.caveat | whole }}</p>
{% if told.notes %}
<details><summary>Numbers</summary>{% for note in told.notes %}<p>{{ note }}</p>{% endfor %}
{% if told.folded %}<figure>{{ told.folded }}</figure>{% endif %}
</details>
{% endif %}
</div>
{% if told.example %}
<figure class="example" aria-label="{{ told.example.alt }}">{{ told.example.figure }}
{% set shaded, stop, rest = told.example.reading.partition(". ") %}
{% if shaded %}<figcaption>{{ shaded | whole }}{{ stop.strip() }} {{ told.example.evidence }}</figcaption>{% endif %}
</figure>
{% endif %}
</section>
{% endfor %}
"""

_ANSWERS = """<div class="answers">
{% for answer in answers %}
<div class="answer">
<p>{{ answer.question }} <b>{{ answer.lead }}</b></p>
{% if answer.figure %}<figure aria-label="{{ answer.levels }}">{{ answer.figure }}</figure>{% endif %}
{% if answer.sentence %}<p class="apart">{{ answer.sentence }}</p>{% endif %}
</div>
{% endfor %}
</div>
"""

_SLIDES = """<div class="deck" tabindex="-1" role="region" aria-roledescription="slides" aria-label="Slides"
 {% if hidden %}hidden{% endif %}>
<section class="slide">
<h1>{{ question }}</h1>
<div class="body opening">
<div><p class="what">{{ what }}</p>
{% if picture %}<figure aria-label="{{ picture_told }}">{{ picture }}</figure>{% endif %}
</div>
{{ drawn_answers }}
</div>
<div class="foot"><p class="caveat">{{ about }} {{ thin }} {{ reading }}</p></div>
<aside class="speaker">
<p>{{ made }}. {{ recipe }}</p>
{% for answer in answers %}<p>{{ answer.question }} {{ answer.words }}</p>{% endfor %}
<p>{{ reading }}</p>
{% for told in opening %}
<p>{{ told.title }}.</p>{% for line in told.beats + told.notes %}<p>{{ line }}</p>{% endfor %}
<p>Not shown: {{ told.caveat }}</p>
{% endfor %}
</aside>
</section>
{% for told in findings if told not in opening %}
<section class="slide">
<h2>{{ told.title | whole }}</h2>
<div class="body">
{% if told.takeaway and told.defines %}<p class="takeaway">{{ told.takeaway | whole }}</p>{% endif %}
<figure aria-label="{{ told.alt }}">{{ told.figure }}</figure>
{% if told.takeaway and not told.defines %}<p class="takeaway">{{ told.takeaway | whole }}</p>{% endif %}
</div>
<div class="foot">
{% if told.meaning and told.meaning not in decision.values() %}
<p class="meaning"><b>In practice:</b> {{ told.meaning }}</p>
{% endif %}
<p class="caveat"><b>Limits:</b> {{ told.caveat }}</p>
</div>
<aside class="speaker">{% for line in told.beats + told.notes %}<p>{{ line }}</p>{% endfor %}
<p>{{ about }}</p><p>Not shown: {{ told.caveat }}</p></aside>
</section>
{% if told.example and told.example.title %}
<section class="slide">
<h2>{{ told.example.title | whole }}</h2>
<div class="body">
<p class="takeaway">{{ told.example.evidence }}</p>
<figure aria-label="{{ told.example.alt }}">{{ told.example.figure }}</figure>
</div>
<div class="foot"><p class="caveat">{{ told.example.reading }}</p></div>
<aside class="speaker"><p>{{ told.example.alt }} {{ told.example.note }}</p><p>{{ about }}</p></aside>
</section>
{% endif %}
{% endfor %}
<section class="slide">
<h2>{{ in_short | whole }}</h2>
<div class="body">
<table class="sums">
<tr><th>Measured</th><th>Result</th><th>Compared with</th></tr>
{% for told in findings %}{% for row in told.summaries %}
<tr><td>{{ row.quantity }}</td><td>{{ row.value }}</td><td>{{ row.baseline | lines }}</td></tr>
{% endfor %}{% endfor %}
</table>
</div>
<div class="foot">
{% if decision %}<p class="meaning">{% for lead, line in decision.items() %}<b>{{ lead }}:</b> {{ line }}
{% if not loop.last %}<br>{% endif %}{% endfor %}</p>{% endif %}
<p class="caveat"><b>Limits:</b> {{ closing[0] }} {{ thin }} {{ reading }}</p>
</div>
<aside class="speaker">
{% for line in closing[1:] %}<p>{{ line }}</p>{% endfor %}
<p>{{ command }}</p>
<p>Arrow keys, a clicker or a swipe lead on. N shows notes, F fills the screen, Esc leaves.</p>
</aside>
</section>
<nav class="controls" aria-label="Slides">
<button type="button" data-do="back" aria-label="Previous slide">‹ <span class="long">Previous</span></button>
<button type="button" data-do="next" aria-label="Next slide"><span class="long">Next</span> ›</button>
<span class="where" role="status"></span>
<button type="button" data-do="notes" aria-pressed="false" title="Speaker notes (N)">Notes</button>
<button type="button" data-do="close" aria-label="Close the slides" title="Close (Esc)">
<span class="long">Close</span> ×</button>
</nav>
</div>
"""


@dataclass(frozen=True)
class Summary:
    """A finding in one row. baseline: empty where it has none."""

    quantity: str
    value: str
    baseline: str


@dataclass(frozen=True)
class Example:
    """One case of a finding. title: of its slide, empty where it was not chosen by a rule and gets none. alt: the
    figure in words. reading: how to read it, on its slide. evidence: what is so over all cases, and how this one was
    chosen. note: what whoever speaks may add.
    """

    title: str
    figure: Markup
    alt: str
    reading: str = ""
    evidence: str = ""
    note: str = ""


@dataclass(frozen=True)
class Told:
    """A finding as it is told. title: the finding itself. beats: sentences that lead through the figure, one after the
    other. alt: the figure in words. caveat: what it does not show. notes: numbers for whoever speaks. plays: whether
    the player steps along with it. meaning: what it means for whoever runs or prunes such a model, empty where nothing
    follows. takeaway: the sentence beneath the figure on a slide, with a number and its baseline. defines: it says what
    the figure is about, and stands above it. summaries: its rows on the last slide. folded: a second figure, among the
    numbers. brief: the title in a few words, for the last slide; empty where its first clause will do. example: beneath
    it, and on a slide of its own.
    """

    name: str
    title: str
    figure: Markup
    alt: str
    beats: tuple[str, ...]
    caveat: str
    notes: tuple[str, ...] = ()
    plays: bool = False
    meaning: str = ""
    takeaway: str = ""
    defines: bool = False
    summaries: tuple[Summary, ...] = ()
    folded: Markup | None = None
    brief: str = ""
    example: Example | None = None


@dataclass(frozen=True)
class Answer:
    """A question of the study with its answer. lead: in one sentence. sentence: by how much what is compared differs.
    figure: what is compared, empty where that was not measured; levels: the figure in words.
    """

    question: str
    lead: str
    sentence: str
    figure: Markup | None = None
    levels: str = ""

    @property
    def words(self) -> str:
        """The answer as one sentence after another."""
        return " ".join(filter(None, (self.lead, self.levels, self.sentence)))


@dataclass(frozen=True)
class Story:
    """All of it. made: whose study of which day this is. question: its heading; what: what this is about, for a
    stranger, and the term in it that is explained; about: the model, as what it is. thin: that the study is a small
    one; empty where it is not. recipe: how the discount chose weights. reading: how to read the numbers of the answers.
    picture: of one sink, and what it shows. in_short: title of the last slide. decision: what to do about what, by the
    findings that answer the question; empty where nothing follows. closing: what the study as a whole does not say.
    command: that repeats it.
    """

    made: str
    question: str
    what: str
    term: str
    about: str
    answers: tuple[Answer, ...]
    thin: str
    recipe: str
    reading: str
    picture: Markup
    picture_told: str
    findings: tuple[Told, ...]
    in_short: str
    decision: Mapping[str, str]
    closing: tuple[str, ...]
    command: str


@cache
def story_css() -> str:
    """Return the style of findings and slides."""
    style = "".join((_FOLDER / f"{name}.css").read_text(encoding="utf-8") for name in ("story", "deck"))
    sinks = ", ".join(
        re.findall(r'\bsink: "(#\w+)"', colors_js())
    )  # of the player beside it, on a light and a dark page
    colors = {"SINK_COLOR": f"light-dark({sinks})", "NULL_COLOR": REFERENCE}
    for name, color in colors.items():
        style = style.replace(name, color)
    return style


def _script(name: str) -> str:
    return (_FOLDER / f"{name}.js").read_text(encoding="utf-8")


@cache
def page_js() -> str:
    """Return the module of the component that a page mounts: `data` holds html, content and, of slides, the slide."""
    return "\n".join(map(_script, ("story", "deck", "page")))


@cache
def file_script() -> str:
    """Return the script of an HTML file that holds findings in its `main`, and slides."""
    return "\n" + "\n".join(map(_script, ("story", "deck", "file")))


def findings_html(findings: Sequence[Told]) -> Markup:
    """Return findings as HTML."""
    made = _template(_FINDINGS).render(findings=findings)
    return Markup('<div class="story">{}</div>').format(Markup(made))


def slides_html(story: Story, hidden: bool = False) -> Markup:
    """Return the slides, eight at most: the question with its answer, a slide per finding, and what is not said. Where
    an example has a slide of its own, the first slide, which shows a sink, tells the first finding in its notes.
    """
    has_example = any(told.example and told.example.title for told in story.findings)
    opening = story.findings[:1] if has_example else ()
    drawn = Markup(_template(_ANSWERS).render(answers=story.answers))
    return Markup(_template(_SLIDES).render(**vars(story), drawn_answers=drawn, opening=opening, hidden=hidden))


def answers_html(answers: Sequence[Answer]) -> Markup:
    """Return the answers by themselves."""
    return Markup('<div class="story">{}</div>').format(Markup(_template(_ANSWERS).render(answers=answers)))


def picture_html(story: Story) -> Markup:
    """Return the picture of a sink by itself."""
    return figure_html(story.picture, story.picture_told)


def figure_html(figure: Markup, told: str) -> Markup:
    """Return one figure of the story by itself. told: what it shows, in words."""
    return Markup('<div class="story"><figure aria-label="{}">{}</figure></div>').format(told, figure)


@cache
def _template(text: str) -> Template:
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_glued)
    environment.filters["whole"], environment.filters["lines"] = _whole, _lines
    return environment.from_string(text)


def _glued(value: object) -> object:
    return glued(value) if type(value) is str else value


def _lines(text: str) -> Markup:
    """Return a text with its clauses one beneath the other."""
    return Markup("<br>").join(glued(each) for each in text.split("; "))


def _whole(text: str) -> Markup:
    """Return a text whose lines do not break within a range of numbers, `to 3.8`, `2 points` or `left-to-right`."""
    text = re.sub(r"\bto (?=\d)|(?<=\d) (?=points?\b)", lambda found: found[0].replace(" ", "\u00a0"), glued(text))
    return Markup(re.sub(r"\d+–\d+|[Ll]eft-to-right", r'<span class="whole">\g<0></span>', str(escape(text))))
