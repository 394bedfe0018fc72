"""The claims as they were tested on the model that ships, in a small file: `python -m training.claims` writes it."""

import gzip
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from analysis.claims.evidence import Evidence
from analysis.errors import UserError
from analysis.specs import ClaimsSpec

EXAMPLE = Path(__file__).parents[1] / "bundled" / "claims.json.gz"
MOST_BYTES = 2**22  # unpacked


class TestedClaims(BaseModel):
    """What a run of the claims found. evidence: by claim; missing: why another has none. fingerprint: of the model.
    created: when the run began, ISO 8601. environment: versions and hardware. command: that repeats it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")
    __test__ = False  # no test, for all its name

    spec: ClaimsSpec
    evidence: dict[str, Evidence]
    missing: dict[str, str]
    fingerprint: str
    created: str
    environment: dict[str, Any]
    command: str


def write(tested: TestedClaims, path: Path) -> None:
    """Write them as gzipped JSON, the same bytes for the same evidence."""
    path.write_bytes(gzip.compress(tested.model_dump_json().encode(), 9, mtime=0))


def read(path: Path) -> TestedClaims:
    """Read claims that were written. Raises UserError for a file that holds none."""
    try:
        with gzip.open(path) as file:
            return TestedClaims.model_validate_json(file.read(MOST_BYTES))
    except (OSError, EOFError, ValueError, ValidationError) as error:
        raise UserError(f"'{path.name}' holds no claims that this version can read. Test the claims again.") from error
