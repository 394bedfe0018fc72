"""Runs the parts and prints one table with every bar and value: `python -m benchmarks.honesty`."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.honesty.parts import PARTS, Row
from cache.store import default_root


def main(arguments: list[str] | None = None) -> int:
    """Returns 1 where a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.honesty", description=__doc__)
    names = " ".join(f"{part.name}: {part.title} ({part.minutes:g} min)." for part in PARTS.values())
    parser.add_argument("--only", nargs="+", choices=list(PARTS), metavar="NAME", help=names)
    parser.add_argument("--sets", type=int, help="at most so many sets of each kind, for a look")
    parser.add_argument("--into", type=Path, help="the folder to write sets to (default: honesty, in the store)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as JSON as well")
    options = parser.parse_args(arguments)
    folder = options.into or default_root() / "honesty"
    rows: dict[str, list[Row]] = {}
    for name in options.only or PARTS:
        print(f"{PARTS[name].title} …", file=sys.stderr, flush=True)
        rows[name] = PARTS[name].run(folder, options.sets)
    print(table(rows))
    if options.json:
        written = {name: [asdict(row) for row in of_part] for name, of_part in rows.items()}
        options.json.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return int(not all(row.holds for of_part in rows.values() for row in of_part))


def table(rows: dict[str, list[Row]]) -> str:
    """The rows of all parts as Markdown."""
    lines = ["| part | what | value [95 %] | bar | sets | |", "| --- | --- | --- | --- | ---: | --- |"]
    for name, of_part in rows.items():
        lines += [
            f"| {name} | {row.what} | {row.value} | {row.bar} | {row.sets:,} | {'holds' if row.holds else 'misses'} |"
            for row in of_part
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
