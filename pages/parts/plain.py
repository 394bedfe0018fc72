"""Text from outside (models, tokenizers, files, addresses, tasks, errors) in places that read Markdown.

Nearly every text, label and help of Streamlit is Markdown; `plain` makes it show its text and obey nothing.
"""

import re

from analysis.words import MODEL_TITLES, glued, in_sentence

_APART = "\u2060"  # word joiner: has no width, ends no line, and parts what Streamlit's own replacements would find

_MARKS = re.compile(r"[\\`*\[\]~$|]|(?<!\w)_|_(?!\w)|:(?!\s)|<(?=[a-z/!?]|\Z)|&(?=[\w#]|\Z)", re.IGNORECASE)
_LINE_START = re.compile(r"^(\d{0,9})(?=[-+=>#]|[.)](?:\s|$))", re.MULTILINE)  # of lists, quotes and headings
# Streamlit replaces these in finished text, where no backslash is left to stop it.
_ICON = re.compile(r":(?=material/|[\w+-]+:)")
_LINK = re.compile(r"\bhttps?(?=://)|\bwww(?=\.)|(?<=[-.\w+])(?=@)", re.IGNORECASE)
_RANGE = re.compile(r"(?<=\d)–(?=\d)")
_ARROW = re.compile(r"(?<!\S)([-<>~])(?=(?:->|>|-|=)(?!\S))")


def plain(text: object) -> str:
    """Return Markdown that reads as the text itself: no marks, pictures, links, icons or formulas. Line breaks stay;
    no line ends between a number and its sign, or within an interval or a range.
    """
    return escaped(_RANGE.sub(lambda match: match.group() + _APART, glued(str(text))))


def escaped(text: object) -> str:
    """Return the same of a number that stands alone, which has no line to end."""
    lines = (line.strip() for line in _encodable(str(text)).splitlines())
    whole = "\n".join(line for line in lines if line)
    for pattern in (_ICON, _LINK, _ARROW):
        whole = pattern.sub(lambda match: match.group() + _APART, whole)
    return _LINE_START.sub(r"\1\\", _MARKS.sub(r"\\\g<0>", whole)).replace("\n", "  \n")


def as_written(text: object) -> str:
    """Return text on one line, for places without Markdown that would show its backslashes: options of boxes."""
    return " ".join(_encodable(str(text)).split())


def code(text: object) -> str:
    """Return Markdown that shows the text as inline code."""
    line = " ".join(_encodable(str(text)).split()).replace(":material/", f":{_APART}material/")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") or not line else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def model_called(source: str) -> str:
    """Return a model within a sentence: one that ships by its name, any other by its source, as code."""
    return plain(in_sentence(MODEL_TITLES[source])) if source in MODEL_TITLES else code(source)


def shortened(text: str, length: int = 32) -> str:
    """Cut text to a length, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _encodable(text: str) -> str:
    """Replace half surrogate pairs, as file names and JSON can hold, with question marks, so that the text can be
    sent.
    """
    return text.encode("utf-8", "replace").decode("utf-8")
