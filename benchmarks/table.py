"""The table of ratios in the documentation, row by row: what is measured anew takes the place of what was before."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from benchmarks.ratios import Ratio

_HEAD = (
    "| `python -m benchmarks.` | what | ratio of | ratio | over rounds | load before, after | measured |",
    "| --- | --- | --- | ---: | ---: | ---: | --- |",
)


class Row(NamedTuple):
    """The cells of one row. command: the benchmark and its flags."""

    command: str
    what: str
    of: str
    ratio: str
    rounds: str
    load: str
    measured: str


def rows_of(command: str, ratios: Iterable[Ratio], load: tuple[float, float]) -> list[Row]:
    """Return today's rows of a benchmark. load: the machine's, as it began and as it ended."""
    today, loads = time.strftime("%Y-%m-%d"), f"{load[0]:.1f}, {load[1]:.1f}"
    rows = []
    for ratio in ratios:
        within = "" if ratio.low is None or ratio.high is None else f"{ratio.low:.2f} to {ratio.high:.2f}"
        rows.append(Row(command, ratio.what, ratio.of, f"{ratio.value:.2f}", within, loads, today))
    return rows


def machine() -> str:
    """The line above the table: where its ratios were measured, and with what."""
    from analysis.job_context import environment

    made = environment()
    hardware, versions = made["hardware"], made["versions"]
    return (
        f"Measured by `make bench`: {hardware['system']}, {hardware['cores']} cores, {hardware['memory_gb']:.0f} GB, "
        f"{', '.join(hardware['gpus']) or 'no GPU'}; Python {versions['python']}, torch {versions['torch']}, "
        f"transformers {versions['transformers']}."
    )


def read(text: str) -> dict[str, list[Row]]:
    """The rows of a table of this machine and these versions, by command; none of another's."""
    if machine() not in text.splitlines():
        return {}
    by_command: dict[str, list[Row]] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")] if line.startswith("| ") else []
        if len(cells) == len(Row._fields) and line not in _HEAD:
            by_command.setdefault(cells[0], []).append(Row(*cells))
    return by_command


def written(by_command: Mapping[str, Sequence[Row]], order: Iterable[str]) -> str:
    """The table as Markdown, commands in this order; others have no place in it."""
    rows = [row for command in order for row in by_command.get(command, ())]
    return "\n".join([machine(), "", *_HEAD, *(f"| {' | '.join(row)} |" for row in rows)])
