"""Opening a store that is damaged, in the way, or not to be written: a sentence, and nothing lost."""

import json
import os
import shutil
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest

from cache.opening import DATABASE, STAMP, StoreError, open_cache
from cache.store import BACKUP, UNRESTORED, PlainDisk, Store, default_root
from cache.stores import Responses

as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everything")


def fill(root: Path) -> Path:
    """A store with enough jobs for several pages, written once beside those of all tests; returns their database."""
    written = root.parent / "filled store"
    if not written.exists():
        store = Store(written)
        for number in range(200):
            store.save_job(f"job{number}", {"id": f"job{number}", "text": "x" * 200})
        store.close()
    shutil.copytree(written, root, dirs_exist_ok=True)
    return root / "runs" / DATABASE


def halve(database: Path) -> None:
    database.write_bytes(database.read_bytes()[: database.stat().st_size // 2])


def spoil_a_page(database: Path) -> None:
    data = bytearray(database.read_bytes())
    middle = len(data) // 8192 * 4096
    data[middle : middle + 4096] = b"\xa5" * 4096
    database.write_bytes(data)


def another_program(database: Path) -> None:
    database.unlink()
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE Cache (something)")
        connection.execute("CREATE TABLE Settings (other)")
    connection.close()


def a_folder(database: Path) -> None:
    database.unlink()
    database.mkdir()


def one_byte(database: Path) -> None:
    """With a log beside it, which belongs to what was there."""
    database.with_name(f"{DATABASE}-wal").write_bytes(b"\x37\x7f\x06\x82" + bytes(4096))
    database.write_bytes(b"S")


def no_tables(database: Path) -> None:
    database.unlink()
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA user_version = 3")
    connection.close()


def itself(database: Path) -> None:
    database.unlink()
    database.symlink_to(database.name)


DAMAGES = {
    "truncated": halve,
    "empty": lambda database: database.write_bytes(b""),
    "no database": lambda database: database.write_bytes(b"not a database " * 1000),
    "a page spoilt": spoil_a_page,
    "another program's": another_program,
    "a folder": a_folder,
    "one byte": one_byte,
    "no tables": no_tables,
    "a link to itself": itself,
}


def read_only(database: Path) -> None:
    """A write version that SQLite does not know makes a database read-only, for root as well."""
    data = bytearray(database.read_bytes())
    data[18] = 3
    database.write_bytes(data)


READABLE = {"a page spoilt": 150}  # jobs of 200 that can be read at least, of a damaged database


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_job_database_is_set_aside_and_said_so(tmp_path, kind):
    DAMAGES[kind](fill(tmp_path))
    (tmp_path / BACKUP).unlink()
    store = Store(tmp_path)
    left = list(store.jobs())
    assert READABLE.get(kind, 0) <= len(left) < 200 and bool(left) == (kind in READABLE)
    assert all(job["text"] == "x" * 200 for job in left)
    store.save_job("new", {"id": "new"})
    [notice] = store.notices
    [aside] = tmp_path.glob("runs-damaged-*")
    assert "jobs was damaged" in notice
    assert str(aside) in notice
    assert os.path.lexists(aside / DATABASE)
    assert stat.S_IMODE((tmp_path / "runs").stat().st_mode) == 0o700
    store.close()
    again = Store(tmp_path)
    assert again.notices == []
    assert len(list(again.jobs())) == len(left) + 1
    again.close()


@pytest.mark.parametrize("kind", DAMAGES)
def test_jobs_and_names_come_back_from_the_copy(tmp_path, kind):
    database = fill(tmp_path)
    store = Store(tmp_path)
    store.save_label("job1", {"name": "mine"})
    store.close()
    DAMAGES[kind](database)
    with (tmp_path / BACKUP).open("a") as copy:
        copy.write('["job:half", "{')  # cut off while it was written
    store = Store(tmp_path)
    assert len(list(store.jobs())) == 200 and store.labels() == {"job1": {"name": "mine"}}
    assert "200 jobs are listed" in store.notices[0]
    store.close()
    again = Store(tmp_path)
    assert len(list(again.jobs())) == 200 and again.notices == []
    again.close()


@pytest.mark.parametrize("kind", DAMAGES)
def test_what_had_ended_comes_back_ended(tmp_path, kind):
    store = Store(tmp_path)
    for number in range(9):
        for state in ("queued", "running", "done"):
            store.save_job(f"job{number}", {"id": f"job{number}", "state": state})
    store.save_job("forgotten", {"id": "forgotten", "state": "done"})
    store.delete_job("forgotten")
    store.close()
    DAMAGES[kind](tmp_path / "runs" / DATABASE)
    store = Store(tmp_path)
    assert {job["id"]: job["state"] for job in store.jobs()} == {f"job{number}": "done" for number in range(9)}
    store.close()


@pytest.mark.parametrize("killed_at", ["open_cache", "salvage", "_restore"])
def test_a_start_that_is_killed_between_setting_aside_and_restoring_is_finished_by_the_next(
    tmp_path, monkeypatch, killed_at
):
    halve(fill(tmp_path))

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if killed_at == "_restore":
            patch.setattr(Store, "_restore", killed)
        elif killed_at == "salvage":
            patch.setattr("cache.opening.salvage", killed)
        else:
            whole = open_cache

            def first_alone(folder, *given, **options):
                if folder.name == "runs":
                    patch.setattr("diskcache.Cache", killed)
                return whole(folder, *given, **options)

            patch.setattr("cache.store.open_cache", first_alone)
        Store(tmp_path)
    assert list(tmp_path.glob("runs-damaged-*"))
    store = Store(tmp_path)
    assert len(list(store.jobs())) == 200 and "200 jobs are listed" in store.notices[0]
    store.close()
    assert not (tmp_path / UNRESTORED).exists()


def test_a_list_that_is_gone_comes_back_from_the_copy_and_one_that_was_emptied_stays_empty(tmp_path):
    fill(tmp_path)
    shutil.rmtree(tmp_path / "runs")
    store = Store(tmp_path)
    assert len(list(store.jobs())) == 200 and "list of jobs was gone" in store.notices[0]
    for number in range(200):
        store.delete_job(f"job{number}")
    store.close()
    store = Store(tmp_path)
    assert list(store.jobs()) == [] and store.notices == []
    store.close()


def test_a_copy_that_holds_more_than_the_list_is_not_lost(tmp_path):
    database = fill(tmp_path)
    with sqlite3.connect(database) as connection:
        connection.execute("DELETE FROM Cache WHERE key LIKE 'job:job1%'")
    connection.close()
    store = Store(tmp_path)
    store.save_job("new", {"id": "new"})
    store.renew_backup()
    assert len(store._backup.rows()) == 201
    store.close()


def test_a_copy_of_an_older_version_is_brought_up_to_the_list(tmp_path):
    fill(tmp_path)
    (tmp_path / BACKUP).write_text('["job:job7", "{\\"id\\": \\"job7\\"}"]\n')
    store = Store(tmp_path)
    store.renew_backup()
    assert len(store._backup.rows()) == 200 and "text" in json.loads(store._backup.rows()["job:job7"])
    store.close()


def test_the_copy_does_not_grow_with_every_word_and_a_line_that_was_cut_off_costs_itself_alone(tmp_path):
    store = Store(tmp_path)
    store.save_job("first", {"id": "first"})
    with (tmp_path / BACKUP).open("a") as copy:
        copy.write('["job:half", "{')
    for number in range(1000):
        store.save_job("job", {"id": "job", "n": number})
    store.renew_backup()
    lines = (tmp_path / BACKUP).read_text().splitlines()
    assert len(lines) == 2 and json.loads(json.loads(lines[1])[1]) == {"id": "job", "n": 999}
    assert stat.S_IMODE((tmp_path / BACKUP).stat().st_mode) == 0o600
    store.close()


def test_what_is_set_aside_is_the_very_file(tmp_path):
    database = fill(tmp_path)
    halve(database)
    before = database.read_bytes()
    Store(tmp_path).close()
    assert next(tmp_path.glob("runs-damaged-*/cache.db")).read_bytes() == before


def test_damaged_results_leave_the_jobs_alone(tmp_path):
    fill(tmp_path)
    halve(tmp_path / "results" / DATABASE)
    store = Store(tmp_path)
    assert len(list(store.jobs())) == 200
    assert "results was damaged" in store.notices[0]
    store.add_result("key", {"a": 1})
    assert store.result("key").summary == {"a": 1}
    store.close()


def test_damaged_answers_are_begun_anew(tmp_path):
    with closing(Responses(tmp_path)) as answers:
        answers.put("key", {"a": 1})
    halve(tmp_path / "answers" / DATABASE)
    with closing(Responses(tmp_path)) as answers:
        assert answers.get("key") is None
        answers.put("key", {"a": 2})
        assert answers.get("key") == {"a": 2}
    assert list(tmp_path.glob("answers-damaged-*"))


def test_a_whole_store_says_nothing_and_stays(tmp_path):
    fill(tmp_path)
    store = Store(tmp_path)
    assert store.notices == []
    assert len(list(store.jobs())) == 200
    store.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        STAMP,
        "incoming",
        "kept",
        "results",
        "runs",
        BACKUP,
        "scratch",
    ]


def test_a_database_that_another_process_is_just_making_is_waited_for(tmp_path):
    database = fill(tmp_path)
    whole = database.read_bytes()
    database.write_bytes(b"")
    writer = threading.Timer(0.3, lambda: database.write_bytes(whole))
    writer.start()
    store = Store(tmp_path)
    writer.join()
    assert store.notices == []
    assert len(list(store.jobs())) == 200
    store.close()


def test_a_read_only_database_is_told_and_left_alone(tmp_path):
    database = fill(tmp_path)
    read_only(database)
    before = database.read_bytes()
    with pytest.raises(StoreError, match=r"cannot be written: .*readonly"):
        Store(tmp_path)
    assert database.read_bytes() == before
    assert list(tmp_path.glob("*damaged*")) == []


@as_root
@pytest.mark.parametrize("part", ["", "runs"])
def test_a_folder_without_permission_is_told(tmp_path, part):
    fill(tmp_path)
    folder = tmp_path / part
    folder.chmod(0o500)
    try:
        with pytest.raises(StoreError, match=r"may not read and write|cannot be (opened|written)"):
            Store(tmp_path)
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize("place", ["", "runs", "kept", "deeper/home"])
def test_a_file_in_the_place_of_a_folder_is_told_and_left_alone(tmp_path, place):
    root = tmp_path / "home"
    file = root / place if "/" not in place else root
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    with pytest.raises(StoreError, match="a file is in the way"):
        Store(root if "/" not in place else root / "deeper" / "home")
    assert file.read_text() == "mine"


def test_a_home_that_no_user_has_is_told(monkeypatch):
    monkeypatch.setenv("SINKSCOPE_HOME", "~nobody-of-this-name/store")
    with pytest.raises(StoreError, match="SINKSCOPE_HOME is '~nobody"):
        default_root()


def test_a_store_damaged_while_it_is_open_answers_nothing_instead_of_failing(tmp_path):
    fill(tmp_path)
    store = Store(tmp_path)
    store.close()
    cache, _ = open_cache(tmp_path / "runs", "jobs", PlainDisk)
    cache.close()
    store = Store(tmp_path)
    with sqlite3.connect(tmp_path / "runs" / DATABASE) as database:
        database.execute("ALTER TABLE Cache RENAME TO Elsewhere")
    database.close()
    assert store.job("job1") is None
    assert store.live("job1") is None
    assert store.result("key") is None
    store.close()


# --- kept folders -----------------------------------------------------------------------------------------------


def keep(store: Store, key: str) -> Path:
    left = store.incoming / "job" / "model"
    left.mkdir(parents=True)
    (left / "config.json").write_text("{}")
    store.add_result(key, {"n": 1}, folder=left)
    result = store.result(key)
    assert result is not None and result.folder is not None
    return result.folder


def test_a_store_that_was_moved_finds_its_kept_folders(tmp_path):
    store = Store(tmp_path / "here")
    keep(store, "key")
    store.close()
    (tmp_path / "here").rename(tmp_path / "there")
    moved = Store(tmp_path / "there")
    assert moved.result("key").folder == tmp_path / "there" / "kept" / "key" / "model"
    assert moved.has_result("key")
    moved.delete_result("key")
    assert not (tmp_path / "there" / "kept" / "key").exists()
    moved.close()


def write_place(store: Store, place: str) -> None:
    store._runs.set("folder:key", f'{{"summary": {{}}, "file": false, "folder": "{place}"}}')


def test_a_folder_that_a_job_left_elsewhere_stays_there(tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    store.add_result("key", {}, folder=Path("out"))
    monkeypatch.chdir(tmp_path / "store")
    assert store.result("key").folder == tmp_path / "out"
    store.close()


def test_a_place_outside_the_store_is_not_followed(tmp_path):
    store = Store(tmp_path / "store")
    (tmp_path / "secret").mkdir()
    keep(store, "key")
    write_place(store, "../secret")
    assert store.result("key") is None
    store.close()
