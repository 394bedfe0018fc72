"""Run the parts and print one table with every bar and value: `python -m benchmarks.honesty`."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.honesty.parts import PARTS, Row
from cache.store import default_root
from docs.marks import between, replaced

DOC = Path(__file__).parents[1] / "honesty.md"
MARK = "honesty"
HEAD = ("| part | what | value [95 %] | bar | sets | |", "| --- | --- | --- | --- | ---: | --- |")


def main(arguments: list[str] | None = None) -> int:
    """Run the parts asked for. Returns 1 where a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.honesty", description=__doc__)
    names = " ".join(f"{part.name}: {part.title} ({part.minutes:g} min)." for part in PARTS.values())
    parser.add_argument("--only", nargs="+", choices=list(PARTS), metavar="NAME", help=names)
    parser.add_argument("--sets", type=int, help="at most so many sets of each kind, for a look")
    parser.add_argument("--into", type=Path, help="the folder to write sets to (default: honesty, in the store)")
    parser.add_argument("--write", action="store_true", help=f"put the rows into benchmarks/{DOC.name}; others stay")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as JSON as well")
    options = parser.parse_args(arguments)
    folder = options.into or default_root() / "honesty"
    rows: dict[str, list[Row]] = {}
    for name in options.only or PARTS:
        print(f"{PARTS[name].title} …", file=sys.stderr, flush=True)
        rows[name] = PARTS[name].run(folder, options.sets)
    print("\n".join([*HEAD, *lines_of(rows)]))
    if options.write:
        text = DOC.read_text(encoding="utf-8")
        DOC.write_text(replaced(text, MARK, updated(between(text, MARK), rows)), encoding="utf-8")
    if options.json:
        written = {name: [asdict(row) for row in of_part] for name, of_part in rows.items()}
        options.json.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return int(not all(row.holds for of_part in rows.values() for row in of_part))


def lines_of(rows: dict[str, list[Row]]) -> list[str]:
    """Return the rows of all parts as lines of a Markdown table."""
    return [
        f"| {name} | {row.what} | {row.value} | {row.bar} | {row.sets:,} | {_kept(row)} |"
        for name, of_part in rows.items()
        for row in of_part
    ]


def _kept(row: Row) -> str:
    return "" if row.bar == "none" else "holds" if row.holds else "misses"


def updated(text: str, rows: dict[str, list[Row]]) -> str:
    """Return a document's table with the rows of these parts replaced and the others kept."""
    by_part: dict[str, list[str]] = {}
    for line in text.splitlines():
        name = line.split(" | ")[0].removeprefix("| ")
        if name in PARTS:
            by_part.setdefault(name, []).append(line)
    by_part |= {name: lines_of({name: of_part}) for name, of_part in rows.items()}
    return "\n".join([*HEAD, *(line for name in PARTS for line in by_part.get(name, ()))])


if __name__ == "__main__":
    sys.exit(main())
