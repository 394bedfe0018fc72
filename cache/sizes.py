"""Sizes as people write them, and back."""

_UNITS = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def parse_size(text: str) -> int:
    """Bytes of a size such as `2GB`, `24 GiB` or `1e9`. Raises ValueError for anything else, and below 0."""
    # Imported here, for the dashboard's process reads this module at its start.
    from dask.utils import parse_bytes

    if not any(letter.isdigit() for letter in text):
        raise ValueError(f"'{text}' is no size.")
    try:
        size = parse_bytes(text)
    except OverflowError as error:
        raise ValueError(f"'{text}' is no size.") from error
    if size < 0:
        raise ValueError(f"'{text}' is below 0.")
    return size


def size_text(size: int) -> str:
    """The shortest text that `parse_size` reads as exactly this many bytes."""
    unit = next((name for name, factor in _UNITS if size >= factor and size % factor == 0), None)
    return f"{size // dict(_UNITS)[unit]} {unit}" if unit else str(size)


def gigabytes(size: float) -> str:
    """`52.0 GB`, or in MB or kB below one of them: for messages."""
    unit, by = next(((unit, by) for unit, by in (("GB", 1e9), ("MB", 1e6)) if size >= by), ("kB", 1e3))
    return f"{size / by:,.1f} {unit}"
