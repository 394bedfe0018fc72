"""Human-readable sizes, parsed and formatted."""

_UNITS = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def parse_size(text: str) -> int:
    """Return the bytes of a size such as `2GB`, `24 GiB` or `1e9`. Raises ValueError for anything else, and below 0."""
    # Imported here because the dashboard imports this module at startup.
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
    """Return the shortest text that `parse_size` reads as exactly this many bytes."""
    unit = next((name for name, factor in _UNITS if size >= factor and size % factor == 0), None)
    return f"{size // dict(_UNITS)[unit]} {unit}" if unit else str(size)


def gigabytes(size: float) -> str:
    """Format a size for messages: `52.0 GB`, or in MB or kB if smaller."""
    unit, by = next(((unit, by) for unit, by in (("GB", 1e9), ("MB", 1e6)) if size >= by), ("kB", 1e3))
    return f"{size / by:,.1f} {unit}"
