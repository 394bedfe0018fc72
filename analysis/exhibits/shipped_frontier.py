"""The planes of a sweep in one small file: what they are drawn from and what they say. Imports no torch.

`python -m training.frontier` writes the one that ships, of the bundled diffusion model.
"""

import gzip
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from analysis.errors import UserError
from analysis.evaluation.frontier import COSTS
from analysis.evaluation.qualities import QUALITIES
from analysis.exhibits.frontier import shown_plane
from analysis.figures.export import Exhibit

EXAMPLE = Path(__file__).parents[1] / "bundled" / "frontier.json.gz"
MOST_BYTES = 4 * 2**20  # of the text


class WrittenPlane(BaseModel):
    """A plane. cost, quality: names of their rows. full: cost and quality of the dense model. rows: of `plane_row`.
    timed: what milliseconds were measured on. said: its finding.
    """

    model_config = ConfigDict(frozen=True)

    cost: str
    quality: str
    full: tuple[float, float] | None
    rows: tuple[dict[str, Any], ...]
    timed: str = ""
    said: str = ""

    def shown(self) -> Exhibit:
        """As it is drawn."""
        return shown_plane(self.rows, self.full, self.said, COSTS[self.cost], self.timed, QUALITIES[self.quality])


class ShippedFrontier(BaseModel):
    """Planes of a finished sweep. command: that makes it. verdicts: what it says. environment: versions, hardware."""

    model_config = ConfigDict(frozen=True)

    command: str
    planes: tuple[WrittenPlane, ...]
    verdicts: tuple[str, ...]
    environment: Any = None


def written_plane(
    shown: Exhibit, full: tuple[float, float] | None, cost: str, quality: str, timed: str
) -> WrittenPlane:
    """Return a plane as it is written, without what is not a number in its rows."""
    table = shown.table.astype(object).where(shown.table.notna(), None)
    rows = tuple({str(name): value for name, value in row.items()} for row in table.to_dict("records"))
    return WrittenPlane(cost=cost, quality=quality, full=full, rows=rows, timed=timed, said=shown.finding)


def write(found: ShippedFrontier, path: Path) -> None:
    """Write the file; the same planes give the same bytes."""
    path.write_bytes(gzip.compress(found.model_dump_json().encode(), mtime=0))


def read(path: Path) -> ShippedFrontier:
    """Read a file. Raises UserError for one that holds no planes which this version can draw."""
    try:
        with gzip.open(path) as file:
            text = file.read(MOST_BYTES + 1)
        found = ShippedFrontier.model_validate_json(text)
        if len(text) > MOST_BYTES or any(one.cost not in COSTS or one.quality not in QUALITIES for one in found.planes):
            raise ValueError("unknown")
        return found
    except (OSError, EOFError, ValueError, ValidationError) as error:
        raise UserError(f"'{path.name}' holds no frontier that this version can read.") from error
