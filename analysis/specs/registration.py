"""What a study freezes before anything runs: a pre-registration, which a file holds and a hash names."""

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

MOST_BYTES = 2**20  # of a file that holds one


class Registration(BaseModel):
    """What was named before anything ran. settings: every parameter of the study. outcome: the primary one of hiding
    sinks. contrasts: what is compared with what, a sentence each. margins: in words, by what they are of. tests: in the
    family. power: what the plan said. made: ISO 8601. version: of SinkScope. digest: SHA-256 of all the rest.
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
            raise ValueError("The plan was changed after it was written: its hash is not that of its content.")
        return self

    def content_digest(self) -> str:
        """The hash of everything but the hash."""
        content = self.model_dump(mode="json", exclude={"digest"})
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def frozen(self) -> "Registration":
        """Itself with its hash."""
        return self.model_copy(update={"digest": self.content_digest()})
