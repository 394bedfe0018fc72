"""Programs that use a store, on this machine, in other containers and on other hosts, and the one that is its server.

Each program rewrites a file of its own every few seconds. A program elsewhere is running if its file changes during
observation; clocks, which differ and run backwards, are not used. On this machine the process itself is checked.
Process ids of other containers mean nothing here, so a machine is a host, its boot and its pid namespace.
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
PATIENCE = 20.0  # seconds without one after which a program elsewhere counts as gone
LOCK = "server.lock"
_LOOK = 0.2  # seconds between looks


def machine() -> str:
    """Return a name of this host, its boot and its pid namespace, in letters valid in a file name."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8])
    with contextlib.suppress(OSError):
        parts.append(re.sub(r"\D", "", os.readlink("/proc/self/ns/pid")))
    return re.sub(r"[^A-Za-z0-9.-]", "-", "-".join(parts))


def this_process() -> str:
    """Return a unique name of this process, since process ids are reused."""
    return f"{machine()}_{os.getpid()}@{_began(os.getpid())}"


def _began(pid: int) -> str:
    """Return the start time of a process, which tells it from others with its id. Raises psutil.Error if there is none.

    On Linux in ticks since boot: the boot's time of day, from which psutil computes it, shifts when the clock is set.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return fields[19]
    except (OSError, IndexError):
        return f"{psutil.Process(pid).create_time():.2f}"


def host_of(owner: str) -> str:
    """Return the machine in an owner's name."""
    return owner.rpartition("_")[0]


def runs_here(owner: str) -> bool:
    """Return True if the process of an owner on this machine is running."""
    pid, _, began = owner.rpartition("_")[2].partition("#")[0].partition("@")
    try:
        return began == _began(int(pid))
    except (ValueError, psutil.Error):
        return False


class Presence:
    """Heartbeat of one program at a store, and its view of the others. Its thread ends with `leave`.

    lost: True once another program has taken over as the store's server.
    """

    def __init__(self, root: Path, owner: str) -> None:
        self.owner, self.lost = owner, False
        self._root, self._folder = root, root / "present"
        self._serves = False
        self._seen: dict[str, tuple[str, float]] = {}  # each program's last heartbeat and when it was first seen
        self._number = 0
        self._gone = threading.Event()
        with contextlib.suppress(OSError):  # an unwritable store is reported elsewhere
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
        """Stop the heartbeat and release the store."""
        self._gone.set()
        self._thread.join()
        if self._serves and self._server() == self.owner:
            with contextlib.suppress(OSError):
                (self._root / LOCK).unlink()
        with contextlib.suppress(OSError):
            self._file(self.owner).unlink()

    # --- others ---

    def lives(self, owner: str) -> bool:
        """Return True if another program runs, as far as one look can tell: one elsewhere counts as running until its
        heartbeat has stood still for a while.
        """
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
        """Return the owners that are running, waiting until this is certain."""
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
        """Make this program the store's server, replacing one that is gone.

        alive: tells whether an owner within this process still runs. Raises StoreError if another server runs.
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
        """Remove the lock of a server that is gone. Raises StoreError if it is running."""
        other = self._server()
        mine = other.partition("#")[0] == self.owner.partition("#")[0]
        if alive is not None and mine:
            there = alive(other)
        elif not other:  # being written right now, or cut off
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
    name = platform.node() if place == machine() else re.sub(r"(-[0-9a-f]{8})?-\d+$", "", place)
    return f"{name} (process {process.partition('@')[0]})"
