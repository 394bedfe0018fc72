"""`python -m analysis merge`: the shards of a sweep as the one sweep that they are parts of."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from analysis.command_line.flags import a_path, as_json, flag, out, overwrite
from analysis.command_line.running import check_out
from analysis.command_line.written_sweep import (
    POINT_FILES,
    SUMMARY_FILE,
    WrittenSweep,
    point_file,
    refusal,
    summary_in,
    write,
)
from analysis.errors import UserError, shorten
from analysis.evaluation import sweep_scores, sweep_tables
from analysis.evaluation.items_file import DOCUMENTS
from analysis.specs import PruneSpec, SweepSpec, grid, sentence, shard_of
from analysis.words import listed

FLAGS = (
    flag(
        "folders",
        nargs="+",
        type=a_path,
        metavar="FOLDER",
        help="what 'sweep --shard 1/N' to 'N/N' wrote, in any order",
    ),
    out("DIR", "the folder to write"),
    overwrite("a folder"),
    as_json(),
)


def run(options: argparse.Namespace) -> int:
    """Merge."""
    check_out(options, refusal)
    shards = [_Shard(folder) for folder in options.folders]
    whole = _whole(shards)
    ordered = sorted(shards, key=lambda shard: shard.number)
    prunings = [pruning for shard in ordered for pruning in shard.prunings]
    assert prunings == list(grid(whole).prunings)
    rows = [row for shard in ordered for row in shard.rows]
    failed = [row for row in rows if row["state"] == "failed"]
    swept = WrittenSweep(
        state="failed" if any(shard.state != "done" for shard in ordered) else "done",
        reason=f"{len(failed)} of {len(rows)} points failed. The first: {failed[0]['reason']}" if failed else "",
        parameters=whole.model_dump(mode="json"),
        prunings=prunings,
        rows=rows,
        scores=[score for shard in ordered for score in shard.scores()],
        files={name: file for shard in ordered for name, file in shard.files().items()},
        environment=next((shard.environment for shard in ordered if shard.environment), None),
    )
    write(swept, options)
    if swept.state != "done":
        raise UserError(f"{swept.reason or 'A shard has not ended well.'} Run its shard again, and merge again.")
    return 0


class _Shard:
    """One folder. number: the shard's, from 1. prunings, rows: its points. Raises UserError for another folder."""

    def __init__(self, folder: Path) -> None:
        name = shorten(str(folder))
        written = summary_in(folder)
        if written is None:
            raise UserError(f"'{name}' has no {SUMMARY_FILE} of a sweep. Give folders that 'sweep --shard' wrote.")
        try:
            spec = SweepSpec.model_validate(written.get("parameters"))
        except ValidationError as error:
            raise UserError(f"'{name}' was swept with parameters that changed since: {sentence(error)}") from error
        if not spec.shard:
            raise UserError(f"'{name}' holds a whole sweep, not a shard of one. Give what 'sweep --shard' wrote.")
        self.folder, self.name, self.spec = folder, name, spec
        self.number, self.count = shard_of(spec.shard)
        self.state, self.environment = str(written.get("state")), written.get("environment")
        self.prunings: tuple[PruneSpec, ...] = grid(spec).prunings
        self.rows: list[dict[str, Any]] = written.get("points") or []
        known = [
            isinstance(row, dict) and row.items() >= sweep_tables.axes_of(pruning).items() and "state" in row
            for row, pruning in zip(self.rows, self.prunings, strict=False)
        ]
        if len(self.rows) != len(self.prunings) or not all(known):
            raise UserError(f"The points in '{name}' are not those of its parameters. Sweep shard {spec.shard} again.")

    def files(self) -> dict[str, Path]:
        """The masks, reports and answers of its points, by name."""
        names = [point_file(pruning, name) for pruning in self.prunings for name in POINT_FILES]
        return {name: self.folder / name for name in names if (self.folder / name).is_file()}

    def scores(self) -> list[sweep_scores.PointScores]:
        """Return the scores of its scored points. Raises UserError if their answers are gone."""
        scores = []
        for row, pruning in zip(self.rows, self.prunings, strict=True):
            file = self.folder / point_file(pruning, DOCUMENTS)
            if file.is_file():
                scores.append(sweep_scores.read_scores(file, pruning))
            elif row["state"] == "done":
                raise UserError(f"'{self.name}' has no answers of '{file.name}'. Sweep shard {self.spec.shard} again.")
        return scores


def _whole(shards: Sequence[_Shard]) -> SweepSpec:
    """The sweep that these are the shards of. Raises UserError where they are not all of one."""
    first = shards[0]
    whole = first.spec.model_copy(update={"shard": ""})
    for shard in shards[1:]:
        if shard.count != first.count or shard.spec.model_copy(update={"shard": ""}) != whole:
            raise UserError(f"'{first.name}' and '{shard.name}' are shards of different sweeps. Merge those of one.")
    numbers = [shard.number for shard in shards]
    twice = next((number for number in numbers if numbers.count(number) > 1), None)
    if twice is not None:
        names = " and ".join(f"'{shard.name}'" for shard in shards if shard.number == twice)
        raise UserError(f"{names} are both shard {twice}/{first.count}. Give each once.")
    missing = [str(number) for number in range(1, first.count + 1) if number not in numbers]
    if missing:
        which = "Shard {} of {} is" if len(missing) == 1 else "Shards {} of {} are"
        raise UserError(f"{which.format(listed(missing), first.count)} missing. Sweep the rest, or name their folders.")
    return whole
