"""Pages with generated tables, each between two invisible marks."""


def marks(name: str) -> tuple[str, str]:
    """The lines before and after a table of this name."""
    return f"<!-- {name}: written by a program -->", f"<!-- {name}: end -->"


def replaced(text: str, name: str, new: str) -> str:
    """The text of a page with its table of this name replaced. Raises ValueError where a mark is missing."""
    before, _, after = _parts(text, name)
    begin, end = marks(name)
    return f"{before}{begin}\n\n{new}\n\n{end}{after}"


def between(text: str, name: str) -> str:
    """The table of this name in the text of a page. Raises ValueError where a mark is missing."""
    return _parts(text, name)[1].strip()


def _parts(text: str, name: str) -> tuple[str, str, str]:
    begin, end = marks(name)
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"The page needs the marks '{begin}' and '{end}' once each, with the table between them.")
    before, _, rest = text.partition(begin)
    table, _, after = rest.partition(end)
    return before, table, after
