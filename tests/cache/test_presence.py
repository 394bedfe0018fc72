"""One server at a store: on this machine, in other containers and on other hosts, dead or alive, by whatever clock."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from psutil import _pslinux

from analysis.engine import Engine, JobRecord
from cache import presence
from cache.opening import StoreError
from cache.presence import LOCK, Presence, _began, machine, runs_here, this_process
from cache.store import Store

ELSEWHERE = "node7-0a1b2c3d-4026531836"
OTHER = f"{ELSEWHERE}_17@1.00#0"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(presence, "BEAT", 0.05)
    monkeypatch.setattr(presence, "PATIENCE", 0.5)
    monkeypatch.setattr(presence, "_LOOK", 0.02)


def at(root, owner=None):
    return Presence(root, owner or f"{this_process()}#0")


class Elsewhere:
    """A program on another host, as its files show it; stops like one that lost its power."""

    def __init__(self, root, owner=OTHER) -> None:
        (root / "present").mkdir(exist_ok=True)
        self._file, self._gone = root / "present" / owner, threading.Event()
        self._file.write_text("0")
        (root / LOCK).write_text(json.dumps({"owner": owner}))
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        number = 0
        while not self._gone.wait(0.05):
            number += 1
            new = self._file.with_name(".new")
            new.write_text(str(number))
            new.replace(self._file)

    def dies(self) -> None:
        self._gone.set()
        self._thread.join()


def test_a_server_on_another_host_keeps_a_second_one_out_until_it_is_gone(tmp_path):
    other = Elsewhere(tmp_path)
    here = at(tmp_path)
    with pytest.raises(StoreError, match=r"in use by another SinkScope server, on node7 \(process 17\)"):
        here.serve()
    assert here.lives(OTHER)
    other.dies()
    here.serve()
    assert json.loads((tmp_path / LOCK).read_text())["owner"] == here.owner
    here.leave()
    assert not (tmp_path / LOCK).exists() and not here._file(here.owner).exists()


def test_a_clock_that_goes_back_or_differs_changes_nothing(tmp_path, monkeypatch):
    other = Elsewhere(tmp_path)
    here = at(tmp_path)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    for age in (-1e9, 1e9):
        os.utime(tmp_path / LOCK, (time.time() + age + 1e9,) * 2)
        with pytest.raises(StoreError):
            here.serve()
    other.dies()
    os.utime(here._file(OTHER), (4e9, 4e9))
    here.serve()
    here.leave()


def test_a_container_on_this_host_is_told_by_its_sign_of_life_not_by_its_process_id(tmp_path):
    """Its process ids are others: one of the same number runs here, or none."""
    owner = f"{machine()[:-1]}0x_{os.getpid()}@1.00#0"
    other = Elsewhere(tmp_path, owner)
    here = at(tmp_path)
    with pytest.raises(StoreError):
        here.serve()
    other.dies()
    here.serve()
    here.leave()


def test_a_server_of_this_machine_is_told_by_its_process(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    owner = f"{machine()}_{child.pid}@{_began(child.pid)}#0"
    (tmp_path / LOCK).write_text(json.dumps({"owner": owner}))
    here = at(tmp_path)
    with pytest.raises(StoreError, match=f"process {child.pid}"):
        here.serve()
    child.kill()
    child.wait()
    here.serve()
    here.leave()
    others = (f"{os.getpid()}@1.00", f"{os.getpid()}@1", "999999999@1", "nonsense")
    assert runs_here(this_process()) and not any(runs_here(f"{machine()}_{other}") for other in others)


@pytest.mark.parametrize("seconds", [-3600, -1, 3600])
def test_a_server_stays_known_when_the_clock_of_the_machine_is_set(tmp_path, monkeypatch, seconds):
    """The machine's boot, from which psutil reckons when a process began, has another time of day then."""
    before = this_process()
    boot_time = _pslinux.boot_time()
    monkeypatch.setattr(_pslinux, "boot_time", lambda: boot_time + seconds)
    assert runs_here(before) and this_process() == before


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"owner": ""}'])
def test_a_lock_that_was_cut_off_while_it_was_written_keeps_nobody_out(tmp_path, text):
    (tmp_path / LOCK).write_text(text)
    here = at(tmp_path)
    here.serve()
    here.leave()


def test_of_two_that_come_at_once_one_serves(tmp_path):
    """After one that is gone, in other processes' names."""
    (tmp_path / "present").mkdir()
    (tmp_path / LOCK).write_text(json.dumps({"owner": OTHER}))
    made = [at(tmp_path, f"host{number}-0a1b2c3d-1_1@1.00#0") for number in range(4)]
    served, refused = [], []

    def take(one):
        try:
            one.serve()
            served.append(one)
        except StoreError:
            refused.append(one)

    threads = [threading.Thread(target=take, args=(one,)) for one in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(0.3)
    assert len([one for one in served if not one.lost]) == 1, "one that was overtaken knows it"
    for one in made:
        one.leave()


def test_a_server_that_was_suspended_and_overtaken_says_so_and_takes_no_more_jobs(tmp_path):
    from analysis.errors import UserError
    from analysis.specs import RecordSpec

    store = Store(tmp_path)
    engine = Engine(store, serves=True)
    (tmp_path / LOCK).write_text(json.dumps({"owner": OTHER}))
    deadline = time.monotonic() + 30
    while not engine.notices() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "taken this store over" in engine.notices()[0]
    with pytest.raises(UserError, match="taken this store over"):
        engine.submit("record", RecordSpec(prompt="mia"))
    engine.close()
    assert json.loads((tmp_path / LOCK).read_text())["owner"] == OTHER, "the other one's lock stays"
    store.close()


def test_two_engines_of_one_process_are_told_apart(tmp_path):
    store = Store(tmp_path)
    first = Engine(store, serves=True)
    with pytest.raises(StoreError, match="in use by another"):
        Engine(store, serves=True)
    first.close()
    second = Engine(store, serves=True)
    second.close()
    store.close()


def test_jobs_of_a_program_elsewhere_are_left_alone_while_it_runs_and_taken_over_when_it_is_gone(tmp_path):
    """A sweep from the command line on another host, at the same store."""
    store = Store(tmp_path)
    other = Elsewhere(tmp_path)
    (tmp_path / LOCK).unlink()
    record = JobRecord(id="far", kind="record", spec={}, state="running", created=0, owner=OTHER)
    store.save_job("far", record.model_dump(mode="json"))
    (store.incoming / "far").mkdir()
    engine = Engine(store)
    assert engine.job("far").state == "running" and (store.incoming / "far").is_dir()
    engine.close()
    other.dies()
    after = Engine(store)
    assert after.job("far").state == "interrupted" and not (store.incoming / "far").exists()
    after.close()
    store.close()
