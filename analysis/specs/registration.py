"""Pre-registration of a study: a file, frozen before anything runs and named by its hash."""

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

MOST_BYTES = 2**20  # largest size of a registration file


class Registration(BaseModel):
    """A study as fixed before anything ran. settings: every parameter. outcome: the primary outcome of hiding sinks.
    contrasts: one sentence per comparison. margins: in words, by outcome. tests: their number in the family. power: as
    planned. made: ISO 8601. version: of SinkScope. digest: SHA-256 of all other fields.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["sinkscope-plan-1"] = "sinkscope-plan-1"
    made: str
    version: str
    settings: dict[str, Any]
    outcome: str
    contrasts: tuple[str, ...]
    margins: dict[str, str]
    tests: int
    power: str
    digest: str = ""

    @model_validator(mode="after")
    def _is_what_was_frozen(self) -> "Registration":
        if self.digest and self.digest != self.content_digest():
            raise ValueError("The plan was changed after it was written: its hash does not match its content.")
        return self

    def content_digest(self) -> str:
        """Return the SHA-256 of all other fields."""
        content = self.model_dump(mode="json", exclude={"digest"})
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def frozen(self) -> "Registration":
        """Return a copy with its digest set."""
        return self.model_copy(update={"digest": self.content_digest()})
