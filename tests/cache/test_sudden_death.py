"""A server that is killed in any phase of a save: nothing half-written looks finished, and asking again finishes it."""

import errno
import os
import signal
import sys
from pathlib import Path

import diskcache
import pytest

from cache.store import Store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the child is a fork of this process")

SIZE = 200_000
# Where the child dies: what it calls for the n-th time. Before the call, and after it where that makes a difference.
PHASES = {
    "before anything is written": ("set", 1, False),
    "before the first byte of the file": ("write", 1, False),
    "in the middle of the file": ("write", 2, False),
    "after the file, before its row": ("write", 99, True),
    "before the file is moved": ("link", 1, False),
    "after the file is moved, before its row": ("link", 1, True),
    "after the file's row, before the worker's file goes": ("unlink", 1, False),
    "after the worker's file is gone, before the summary": ("set", 2, False),
    "after the summary": ("set", 2, True),
    "before the job reads done": ("job", 1, False),
    "after the job reads done": ("job", 1, True),
}
FOLDER_PHASES = {
    "before an older folder goes": ("rmtree", 1, False),
    "after an older folder is gone": ("rmtree", 1, True),
    "before the place is made": ("mkdir", 1, False),
    "after the place is made, before the folder moves": ("mkdir", 1, True),
    "after the folder has moved, before its row": ("replace", 1, True),
    "after its row": ("set", 1, True),
    "before the job reads done": ("job", 1, False),
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying(function, number: int, after: bool, monkeypatch, place, name: str) -> None:
    """Replaces a function by one during or after whose n-th call the process is killed."""
    calls = [0]

    def replaced(*given, **named):
        calls[0] += 1
        if calls[0] == number and not after:
            die()
        answer = function(*given, **named)
        if calls[0] == number and after:
            die()
        return answer

    monkeypatch.setattr(place, name, replaced)


def slow_write(number: int, after: bool):
    """diskcache's way of writing a value into a file, in four pieces; number 99: after the last."""

    def write(self, full_path, iterator, mode, encoding=None):
        Path(full_path).parent.mkdir(parents=True, exist_ok=True)
        content = b"".join(iterator)
        with open(full_path, "xb") as file:
            for piece in range(4):
                if number == piece + 1:
                    die()
                file.write(content[piece * len(content) // 4 : (piece + 1) * len(content) // 4])
                file.flush()
        if after:
            die()

    return write


def another_disk(*paths: object) -> None:
    """In the place of os.link: the file has to be copied."""
    raise OSError(errno.EXDEV, "Invalid cross-device link")


def save(root: Path, folder: bool, phase: tuple[str, int, bool], monkeypatch) -> None:
    """What the server does with what a job left, until it dies."""
    import shutil

    what, number, after = phase
    store = Store(root)
    left = store.incoming / "job"
    left.mkdir(exist_ok=True)
    if folder:
        (left / "model").mkdir(exist_ok=True)
        (left / "model" / "weights").write_bytes(b"x" * SIZE)
    else:
        (left / "file").write_bytes(b"x" * SIZE)
    if what == "write":
        monkeypatch.setattr(os, "link", another_disk)
        monkeypatch.setattr(diskcache.Disk, "_write", slow_write(number, after))
    elif what == "link":
        dying(os.link, number, after, monkeypatch, os, "link")
    elif what == "job":
        dying(Store.save_job, number, after, monkeypatch, Store, "save_job")
    elif what == "set":
        dying(diskcache.Cache.set, number, after, monkeypatch, diskcache.Cache, "set")
    elif what == "rmtree":
        dying(shutil.rmtree, number, after, monkeypatch, shutil, "rmtree")
    else:
        dying(getattr(Path, what), number, after, monkeypatch, Path, what)
    if folder:
        store.add_result("key", {"n": 1}, folder=left / "model")
    else:
        store.add_result("key", {"n": 1}, file=left / "file")
    store.save_job("job", {"id": "job", "state": "done"})
    store.close()


def killed(root: Path, folder: bool, phase: tuple[str, int, bool]) -> int:
    """The signal that ended a process that saved."""
    child = os.fork()
    if child == 0:
        try:
            with pytest.MonkeyPatch.context() as patch:
                save(root, folder, phase, patch)
        finally:
            sys.stdout.flush()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(
    ("folder", "phase"),
    [(False, name) for name in PHASES] + [(True, name) for name in FOLDER_PHASES],
    ids=[*PHASES, *(f"folder: {name}" for name in FOLDER_PHASES)],
)
def test_nothing_half_written_looks_finished(tmp_path, folder, phase):
    assert killed(tmp_path, folder, (FOLDER_PHASES if folder else PHASES)[phase]) == -signal.SIGKILL
    store = Store(tmp_path)
    assert store.notices == []
    result, job = store.result("key"), store.job("job")
    if job is not None:
        assert result is not None, "a job that reads done has its result"
    if result is not None:
        content = result.folder / "weights" if folder else result.file
        assert content.read_bytes() == b"x" * SIZE, "a result is whole"
    store.close()
    with pytest.MonkeyPatch.context() as patch:
        save(tmp_path, folder, ("job", 99, False), patch)
    store = Store(tmp_path)
    result = store.result("key")
    assert (result.folder / "weights" if folder else result.file).stat().st_size == SIZE
    assert store.job("job")["state"] == "done"
    store.close()
