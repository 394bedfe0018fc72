"""Keys that name a result by everything it depends on."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

# Code that cannot change a stored number.
_NO_NUMBERS = {"figures", "demo", "engine", "command_line", "__pycache__"}


def content_key(**parts: Any) -> str:
    """32 hex digits of the SHA-256 of `parts` as canonical JSON. Raises TypeError for what JSON cannot hold."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@lru_cache(maxsize=1)
def code_version() -> str:
    """Changes with any line of the code that computes results, so a stored result never outlives its code."""
    root = Path(__file__).parent.parent / "analysis"
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if not _NO_NUMBERS & set(path.relative_to(root).parts):
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]
