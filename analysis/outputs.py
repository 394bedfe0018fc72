"""Putting a finished file or folder where a user asked for it, without losing what is there.

Only SinkScope's own output is replaced, and only when asked. If the system can exchange two names (Linux), the new one
replaces the old in one step, so that every reader finds one or the other, whole; the old one is then checked again, and
put back if it has changed since the work began.
"""

import contextlib
import ctypes
import errno
import json
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from analysis.errors import UserError, os_sentence, shorten
from cache.presence import host_of, machine, runs_here, this_process

_WORKPLACE = re.compile(r"\.[\w.-]{1,60}~(?P<owner>[\w.@-]+)~[0-9a-f]{8}")  # its prefix, its process
_MOST_JSON = 256 * 2**20  # bytes
_FOREIGN_DAYS = 7  # days that another machine's is left alone after its last change
Refusal = Callable[[Path], str]
"""Function that returns why a path may not be replaced, as the end of a sentence; "" if it may."""

NOT_IN_ONE_STEP = (
    "This system cannot exchange two folders in one step, so for a moment neither the old nor the new one stood there."
)
FOREIGN = "was not written by SinkScope"
_AT_FDCWD, _NOREPLACE, _EXCHANGE = -100, 1, 2  # of Linux' renameat2
_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)  # a kernel, file system or sandbox without it
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; empty if it holds none, cannot be read or is larger than any of SinkScope's."""
    try:
        written = json.loads(path.read_text(encoding="utf-8")) if path.stat().st_size <= _MOST_JSON else None
    except (OSError, ValueError, RecursionError):
        return {}
    return written if isinstance(written, dict) else {}


def write_json(path: Path, content: Any) -> None:
    """Write JSON for people and programs."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def workplace(parent: Path, prefix: str, private: bool = True) -> Iterator[Path]:
    """Yield a temporary folder in `parent`, so that finished files only have to be renamed. It is removed at the end.

    Raises OSError as `make_workplace` does.
    """
    folder = make_workplace(parent, prefix, private)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_workplace(parent: Path, prefix: str, private: bool = True) -> Path:
    """Create a folder named after this process: a killed process removes nothing, so the next one that works there does
    so.

    private: closed to other users, else by the user's umask. Raises OSError if none can be made.
    """
    remove_abandoned(parent)
    folder = parent / f".{prefix}~{this_process()}~{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700 if private else 0o777)
    return folder


def remove_abandoned(parent: Path) -> None:
    """Remove the temporary folders in `parent` whose processes are gone; those of other machines after some days."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            named = _WORKPLACE.fullmatch(entry.name)
            if named is None or not entry.is_dir(follow_symlinks=False):
                continue
            owner = named["owner"]
            if host_of(owner) == machine():
                is_gone = not runs_here(owner)
            else:
                is_gone = time.time() - entry.stat(follow_symlinks=False).st_mtime > _FOREIGN_DAYS * 86400
            if is_gone:
                shutil.rmtree(entry.path, ignore_errors=True)


def file_refusal(wrote: Callable[[Path], bool]) -> Refusal:
    """Allow replacing empty files, and regular ones whose content `wrote` knows as SinkScope's."""

    def refusal_of(path: Path) -> str:
        there = path.lstat()
        if not stat.S_ISREG(there.st_mode):
            kind = next((name for is_kind, name in _KINDS if is_kind(there.st_mode)), "a device")
            return f"is {kind} and no regular file"
        return "" if there.st_size == 0 or wrote(path) else FOREIGN

    return refusal_of


def with_suffix(*suffixes: str) -> Callable[[str], bool]:
    """Return what tells whether a file's name ends with one of these."""
    return lambda name: Path(name).suffix in suffixes


def folder_refusal(wrote: Callable[[Path], bool], names: Callable[[str], bool]) -> Refusal:
    """Allow replacing empty folders, and those that `wrote` knows as SinkScope's and that hold only regular files with
    names it may have written.
    """

    def refusal_of(path: Path) -> str:
        if not stat.S_ISDIR(path.lstat().st_mode):
            return "is no folder"
        with os.scandir(path) as entries:
            held = list(entries)
        if held and not wrote(path):
            return FOREIGN
        foreign = [entry.name for entry in held if not entry.is_file(follow_symlinks=False) or not names(entry.name)]
        return f"holds '{shorten(min(foreign))}', which {FOREIGN}" if foreign else ""

    return refusal_of


@contextmanager
def told(out: Path) -> Iterator[None]:
    """Turn operating system errors while writing `out` into a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(f"'{shorten(str(out))}' cannot be written: {os_sentence(error, str(out))}") from error


def check(out: Path, overwrite: bool, refusal_of: Refusal) -> None:
    """Raise UserError if `place` would refuse. Called before any work is done, and again by `place`."""
    name = shorten(str(out))
    if not out.name:
        raise UserError(f"'{name}' is no name of something to write. Give --out a file or folder.")
    if "\0" in str(out):
        raise UserError("The name given with --out holds a NUL character. Choose another.")
    with told(out):
        try:
            out.lstat()
        except FileNotFoundError:
            _require_writable(next(folder for folder in out.absolute().parents if folder.exists()))
            return
        _require_writable(out.absolute().parent)
    if not overwrite:
        raise UserError(f"'{name}' exists. Choose another --out, or replace it with --overwrite.")
    with told(out):
        reason = refusal_of(out)
    if reason:
        raise UserError(f"'{name}' {reason}, so it is not replaced. Choose another --out, or remove it yourself.")


def _require_writable(folder: Path) -> None:
    """Raise NotADirectoryError or PermissionError."""
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def place(finished: Path, out: Path, overwrite: bool, refusal_of: Refusal) -> str:
    """Move `finished`, a file or folder on the same disk, to `out`, and remove what it replaces.

    Returns a note for the user on how, or "". Raises UserError if anything there may not be replaced, however late it
    appeared; it stays, and so does `finished`.
    """
    check(out, overwrite, refusal_of)
    with told(out):
        if not os.path.lexists(out):
            if not _renameat2(finished, out, _NOREPLACE):
                finished.rename(out)
            return ""
        if not _renameat2(finished, out, _EXCHANGE):
            return _replace_in_steps(finished, out)
        reason = refusal_of(finished)
        if reason:
            _renameat2(finished, out, _EXCHANGE)
            raise UserError(f"'{shorten(str(out))}' {reason}, so it was not replaced. Choose another --out.")
        _remove(finished)
    return ""


def _replace_in_steps(finished: Path, out: Path) -> str:
    """Without the exchange: a file still takes the other's place in one step, a folder in two."""
    if not finished.is_dir():
        finished.replace(out)
        return ""
    retired = finished.with_name(f"{finished.name}-old")
    out.rename(retired)
    try:
        finished.rename(out)
    except OSError:
        retired.rename(out)
        raise
    _remove(retired)
    return NOT_IN_ONE_STEP


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()


def _renameat2(first: Path, second: Path, flag: int) -> bool:
    """Call Linux' rename with a flag, which Python lacks. Return False if unsupported; raises OSError."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if function is None:
        return False
    if function(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), flag) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(second))
