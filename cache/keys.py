"""Keys that identify a result by everything it depends on."""

import hashlib
import json
from pathlib import Path
from typing import Any


def content_key(**parts: Any) -> str:
    """Return 32 hex digits of the SHA-256 of `parts` as canonical JSON. Raises TypeError for what JSON cannot hold."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def imported_key(file: Path) -> str:
    """Return the key of a result imported from a file, by its content alone. Raises OSError."""
    with file.open("rb") as content:
        return f"imported-{content_key(digest=hashlib.file_digest(content, 'sha256').hexdigest())}"
