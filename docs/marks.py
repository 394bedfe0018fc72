"""Pages whose tables are written by programs: each stands between two marks that no reader sees."""


def marks(name: str) -> tuple[str, str]:
    """The lines before and after a table of this name."""
    return f"<!-- {name}: written by a program -->", f"<!-- {name}: end -->"


def replaced(text: str, name: str, new: str) -> str:
    """The text of a page with its table of this name replaced. Raises ValueError where a mark is missing."""
    begin, end = marks(name)
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"The page needs the marks '{begin}' and '{end}' once each, with the table between them.")
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n\n{new}\n\n{end}{rest.partition(end)[2]}"
