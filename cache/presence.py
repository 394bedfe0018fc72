"""Which programs use a store, on this machine, in other containers and on other hosts; and which of them is its server.

Each writes a file of its own every few seconds. Whether one elsewhere still runs is told by whether its file changes
while one looks, never by clocks, which differ and go back; of one on this machine the process is asked. Process ids of
other containers mean nothing here, so a machine is a host, its boot and its space of process ids.
"""

import contextlib
import json
import os
import platform
import re
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

import psutil

from cache.opening import StoreError

BEAT = 2.0  # seconds between signs of life
PATIENCE = 20.0  # seconds without one after which a program elsewhere is taken for gone
LOCK = "server.lock"
_LOOK = 0.2  # seconds between looks


def machine() -> str:
    """A name of this host, its boot and its space of process ids, in letters that a file's name can hold."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8])
    with contextlib.suppress(OSError):
        parts.append(re.sub(r"\D", "", os.readlink("/proc/self/ns/pid")))
    return re.sub(r"[^A-Za-z0-9.-]", "-", "-".join(parts))


def this_process() -> str:
    """A name of this process for good: process ids are used again."""
    return f"{machine()}_{os.getpid()}@{_began(os.getpid())}"


def _began(pid: int) -> str:
    """When a process began, which tells it from others of its id. Raises psutil.Error where there is none.

    On Linux in ticks since the machine's boot: the time of day of the boot, from which psutil reckons, changes as the
    clock is set.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return fields[19]
    except (OSError, IndexError):
        return _time_of_day(pid)


def _time_of_day(pid: int) -> str:
    return f"{psutil.Process(pid).create_time():.2f}"


def host_of(owner: str) -> str:
    """The machine in an owner's name; this one for names without."""
    return owner.rpartition("_")[0] if "_" in owner else machine()


def runs_here(owner: str) -> bool:
    """Whether the process of an owner of this machine runs."""
    process = owner.rpartition("_")[2].partition("#")[0]
    pid, _, began = process.partition("@")
    try:
        written_by_time_of_day = "." in began  # by older versions
        return began == (_time_of_day(int(pid)) if written_by_time_of_day else _began(int(pid)))
    except (ValueError, psutil.Error):
        return False


class Presence:
    """The sign of life of one program at a store, and what it sees of the others. Its thread ends with `leave`.

    lost: whether another program has become the store's server since this one did.
    """

    def __init__(self, root: Path, owner: str) -> None:
        self.owner, self.lost = owner, False
        self._root, self._folder = root, root / "present"
        self._serves = False
        self._seen: dict[str, tuple[str, float]] = {}  # what each wrote, and when that was new here
        self._number = 0
        self._gone = threading.Event()
        with contextlib.suppress(OSError):  # a store that cannot be written is told elsewhere
            self._folder.mkdir(mode=0o700, exist_ok=True)
        self._beat()
        self._thread = threading.Thread(target=self._work, name="sinkscope-presence", daemon=True)
        self._thread.start()

    def _file(self, owner: str) -> Path:
        return self._folder / re.sub(r"[^A-Za-z0-9._@#-]", "-", owner)

    def _beat(self) -> None:
        self._number += 1
        file = self._file(self.owner)
        with contextlib.suppress(OSError):
            new = file.with_name(f".{file.name}.new")
            new.write_text(str(self._number), encoding="ascii")
            new.replace(file)

    def _work(self) -> None:
        while not self._gone.wait(BEAT):
            self._beat()
            if self._serves and self._server() != self.owner:
                self.lost = True

    def leave(self) -> None:
        """Says that this program is done with the store."""
        self._gone.set()
        self._thread.join()
        if self._serves and self._server() == self.owner:
            with contextlib.suppress(OSError):
                (self._root / LOCK).unlink()
        with contextlib.suppress(OSError):
            self._file(self.owner).unlink()

    # --- others ---

    def lives(self, owner: str) -> bool:
        """Whether another program runs, as far as one look tells: one elsewhere counts as running until its sign of
        life has not changed for a while. Names of older versions count as of this machine."""
        if host_of(owner) == machine():
            return runs_here(owner)
        try:
            sign = self._file(owner).read_text(encoding="ascii")
        except (OSError, ValueError):
            return False
        before = self._seen.get(owner)
        if before is None or before[0] != sign:
            self._seen[owner] = (sign, time.monotonic())
            return True
        return time.monotonic() - before[1] < PATIENCE

    def living(self, owners: Collection[str]) -> set[str]:
        """Those that run; waits until that is known for sure."""
        first = {owner: self.lives(owner) for owner in owners}
        left = {owner for owner, there in first.items() if there and host_of(owner) != machine()}
        known = {owner for owner, there in first.items() if there} - left
        signs = {owner: self._seen[owner][0] for owner in left}
        while left:
            time.sleep(_LOOK)
            for owner in list(left):
                if not self.lives(owner):
                    left.discard(owner)
                elif self._seen[owner][0] != signs[owner]:
                    left.discard(owner)
                    known.add(owner)
        return known

    # --- the one server ---

    def _server(self) -> str:
        try:
            return str(json.loads((self._root / LOCK).read_text(encoding="utf-8"))["owner"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def serve(self, alive: Callable[[str], bool] | None = None) -> None:
        """Makes this program the server of the store, after one that is gone. alive: says of an owner of this very
        process whether it still runs. Raises StoreError where another one is.
        """
        mine = json.dumps({"owner": self.owner, "host": platform.node(), "process": os.getpid()})
        while True:
            try:
                made = os.open(self._root / LOCK, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            except FileExistsError:
                self._after_one_that_is_gone(alive)
                continue
            except OSError as error:
                raise StoreError(f"SinkScope cannot write '{self._root / LOCK}': {error.strerror}.") from error
            with os.fdopen(made, "w", encoding="utf-8") as lock:
                lock.write(mine)
            self._serves = True
            return

    def _after_one_that_is_gone(self, alive: Callable[[str], bool] | None) -> None:
        """Takes the lock of a server that is gone away. Raises StoreError where it runs."""
        other = self._server()
        mine = other.partition("#")[0] == self.owner.partition("#")[0]
        if alive is not None and mine:
            there = alive(other)
        elif not other:  # being written just now, or cut off while it was
            time.sleep(_LOOK)
            other = self._server()
            there = bool(other)
        else:
            there = other in self.living([other])
        if there:
            raise StoreError(
                f"The store '{self._root}' is in use by another SinkScope server, on {_words(other)}. Two would take "
                "each other's jobs. Use that one, stop it, or give this one a store of its own with SINKSCOPE_HOME."
            )
        if self._server() == other:
            with contextlib.suppress(FileNotFoundError):
                (self._root / LOCK).unlink()


def _words(owner: str) -> str:
    place, _, process = owner.rpartition("_")
    name = platform.node() if not place or place == machine() else re.sub(r"(-[0-9a-f]{8})?-\d+$", "", place)
    return f"{name} (process {process.partition('@')[0]})"
