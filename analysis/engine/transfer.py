"""Transfer of a job's results to the store: by a shared disk, or over the wire if they are small."""

from pathlib import Path
from typing import Any

from analysis.errors import UserError
from analysis.jobs.outcome import Outcome
from cache import environment

PIECE = 256 * 2**10  # bytes of a growing file in one message
WIRE_LIMIT = 64 * 2**20  # bytes


def wire_limit() -> int:
    """Return the bytes that one job may send back over the wire: SINKSCOPE_WIRE_LIMIT, or WIRE_LIMIT."""
    return environment.value("SINKSCOPE_WIRE_LIMIT") or WIRE_LIMIT


def load_up(outcome: Outcome[Any], root: Path, shared: bool, limit: int) -> dict[str, Any]:
    """In the worker: name a job's results, with their content if the server does not see this disk.

    Raises UserError if the content is larger than `limit` bytes.
    """
    payload: dict[str, Any] = {}
    for name in ("file", "folder"):
        left: Path | None = getattr(outcome, name)
        if left is None:
            continue
        if shared:
            payload[name] = str(left)
            continue
        files = [left] if name == "file" else sorted(path for path in left.rglob("*") if path.is_file())
        size = sum(path.stat().st_size for path in files)
        if size > limit:
            raise UserError(
                f"The result takes {size / 1e6:,.0f} MB and workers send back at most {limit / 1e6:,.0f} MB. Set "
                "SINKSCOPE_SHARED to a folder that the server and all workers see, or raise SINKSCOPE_WIRE_LIMIT."
            )
        payload[name] = left.name
        content = {str(path.relative_to(left.parent)): path.read_bytes() for path in files}
        payload["content"] = {**payload.get("content", {}), **content}
    return payload


def piece_of(file: Path, at: int) -> dict[str, Any] | None:
    """In the worker: return the whole lines of a growing file from byte `at` on, as a message; None without any."""
    with file.open("rb") as content:
        content.seek(at)
        lines = content.read(PIECE)
        if b"\n" not in lines:
            lines += content.readline()
    lines = lines[: lines.rfind(b"\n") + 1]
    return {"name": file.name, "at": at, "text": lines.decode()} if lines else None


def add_piece(piece: dict[str, Any], folder: Path) -> int | None:
    """In the server: append lines to its copy of a growing file in `folder`. Return the byte from which earlier lines
    are missing, or None. Raises UserError for a malformed message.
    """
    name, at, text = (piece.get(field) for field in ("name", "at", "text"))
    if not (isinstance(name, str) and isinstance(text, str) and isinstance(at, int) and at >= 0):
        raise UserError("The worker sent a piece of a file without its name, place or text. It was not written.")
    if name in ("", "..") or Path(name).name != name:
        raise UserError(f"The worker sent a piece of '{name}', which is no plain file name. It was not written.")
    with (folder / name).open("ab") as file:
        there = file.tell()
        if at > there:
            return there
        file.write(text.encode()[there - at :])
    return None


def unload(payload: dict[str, Any], folder: Path) -> tuple[Path | None, Path | None]:
    """In the server: return the file and the folder of a job, written into `folder` if they came over the wire.

    Raises UserError for a name outside the folder.
    """
    content = payload.get("content")
    for name, data in (content or {}).items():
        target = (folder / name).resolve()
        if not target.is_relative_to(folder.resolve()):
            raise UserError(
                f"The worker sent a file named '{name}', which lies outside its folder. It was not written."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    file, whole = payload.get("file"), payload.get("folder")
    base = folder if content is not None else Path()
    return (base / file if file else None), (base / whole if whole else None)
