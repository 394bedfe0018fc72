"""Keys that name a result by everything it depends on."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

# Code that no job runs, so it cannot change a stored number.
_NO_NUMBERS = {"figures", "command_line", "study", "__pycache__"}
_READ = {".py", ".yaml", ".jsonl"}  # code, and the tasks and items that ship with it


def content_key(**parts: Any) -> str:
    """32 hex digits of the SHA-256 of `parts` as canonical JSON. Raises TypeError for what JSON cannot hold."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def imported_key(file: Path) -> str:
    """The name of a result that was made elsewhere and came as a file: by its content alone. Raises OSError."""
    with file.open("rb") as content:
        return f"imported-{content_key(digest=hashlib.file_digest(content, 'sha256').hexdigest())}"


@lru_cache(maxsize=1)
def code_version() -> str:
    """Changes with any line of the code that computes results, so a stored result never outlives its code."""
    root = Path(__file__).parent.parent / "analysis"
    return files_digest(root, files_that_run(root))


def files_that_run(root: Path) -> list[Path]:
    """The files of the package `root` on which a stored number may depend."""
    files = (path for path in root.rglob("*") if path.suffix in _READ)
    return sorted(path for path in files if not _NO_NUMBERS & set(path.relative_to(root).parts))


def files_digest(root: Path, files: list[Path]) -> str:
    """16 hex digits that change with a file's name or content."""
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}:{len(content)}:".encode() + content)
    return digest.hexdigest()[:16]
