"""Text from outside (models, tokenizers, files, addresses, tasks, errors) in places that read Markdown.

Nearly every text, label and help of Streamlit is Markdown; `plain` makes it show what it is given and obey nothing.
"""

import re

from analysis.words import MODEL_TITLES, in_sentence

_APART = "\u2060"  # word joiner: has no width, and parts what Streamlit's own replacements would find

_MARKS = re.compile(r"[\\`*\[\]~$|]|(?<!\w)_|_(?!\w)|:(?!\s)|<(?=[a-z/!?]|\Z)|&(?=[\w#]|\Z)", re.IGNORECASE)
_LINE_START = re.compile(r"^(\d{0,9})(?=[-+=>#]|[.)](?:\s|$))", re.MULTILINE)  # of lists, quotes and headings
# Streamlit replaces these in finished text, where no backslash is left to stop it.
_ICON = re.compile(r":(?=material/|[\w+-]+:)")
_LINK = re.compile(r"\bhttps?(?=://)|\bwww(?=\.)|(?<=[-.\w+])(?=@)", re.IGNORECASE)
_INTERVAL = re.compile(r"\[[^\]]{1,30}\]")
_ARROW = re.compile(r"(?<!\S)([-<>~])(?=(?:->|>|-|=)(?!\S))")


def plain(text: object) -> str:
    """Markdown that reads as the text itself: no marks, pictures, links, icons or formulas. Line breaks stay."""
    lines = (line.strip() for line in _encodable(str(text)).splitlines())
    whole = "\n".join(line for line in lines if line)
    for pattern in (_ICON, _LINK, _ARROW):
        whole = pattern.sub(lambda match: match.group() + _APART, whole)
    return _LINE_START.sub(r"\1\\", _MARKS.sub(r"\\\g<0>", whole)).replace("\n", "  \n")


def unbroken(text: object) -> str:
    """The same, with no line ending between a number and its per cent sign, or within an interval."""
    whole = _INTERVAL.sub(lambda found: found[0].replace(" ", "\u00a0"), str(text))
    return plain(whole).replace(" %", "\u00a0%")


def as_written(text: object) -> str:
    """Text on one line, for what reads no Markdown and would show its backslashes: the options of boxes."""
    return " ".join(_encodable(str(text)).split())


def code(text: object) -> str:
    """Markdown that shows the text as inline code."""
    line = " ".join(_encodable(str(text)).split()).replace(":material/", f":{_APART}material/")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") or not line else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def model_called(source: str) -> str:
    """Return a model within a sentence: one that ships by its name, any other by its source, as code."""
    return plain(in_sentence(MODEL_TITLES[source])) if source in MODEL_TITLES else code(source)


def shortened(text: str, length: int = 32) -> str:
    """Text on one line, cut to a length."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _encodable(text: str) -> str:
    """Text that can be sent: half a surrogate pair, as file names and JSON can hold, becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")
