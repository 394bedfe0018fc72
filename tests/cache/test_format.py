"""Stores of other versions: an older one is brought up to this version's format, a newer one is left alone, and both
are said; nothing is emptied silently."""

import json
from pathlib import Path

import pytest

from analysis.engine import Engine, JobRecord
from cache.opening import DATABASE, FORMAT, STAMP, STEPS, StoreError, brought_up
from cache.store import BACKUP, Store
from cache.stores import Responses
from tests.cache.test_store_opening import halve


def older(root: Path, jobs: int = 2) -> Path:
    """A store as the first version left it: without a stamp, a kept folder named by its whole path."""
    store = Store(root)
    for number in range(jobs):
        store.save_job(f"job{number}", {"id": f"job{number}"})
    folder = store.kept / "key" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    store._runs.set("folder:key", json.dumps({"summary": {"n": 1}, "file": False, "folder": str(folder)}))
    store.close()
    (root / STAMP).unlink()
    (root / BACKUP).unlink(missing_ok=True)
    return folder


def row(store: Store) -> str:
    return json.loads(store._runs.get("folder:key"))["folder"]


def test_an_older_store_is_brought_up_once_says_so_and_keeps_all(tmp_path):
    folder = older(tmp_path)
    store = Store(tmp_path)
    [notice] = store.notices
    assert "earlier version" in notice and "2 jobs and 1 kept folders" in notice
    assert row(store) == "kept/key/model" and store.result("key").folder == folder
    assert len(list(store.jobs())) == 2
    store.close()
    again = Store(tmp_path)
    assert again.notices == [] and json.loads((tmp_path / STAMP).read_text()) == {"format": FORMAT}
    again.close()


def test_an_older_store_that_was_moved_finds_its_folders_and_can_be_moved_again(tmp_path):
    older(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    moved = Store(tmp_path / "there")
    assert moved.result("key").folder == tmp_path / "there" / "kept" / "key" / "model"
    moved.close()
    (tmp_path / "there").rename(tmp_path / "third")
    third = Store(tmp_path / "third")
    assert third.result("key").folder == tmp_path / "third" / "kept" / "key" / "model"
    third.close()


def test_what_lies_elsewhere_or_cannot_be_read_stays_as_it_is(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    whole = json.dumps({"summary": {}, "file": False, "folder": str(elsewhere)})
    rows = {"folder:key": whole, "folder:gone": whole.replace("elsewhere", "gone"), "folder:odd": "{", "job:a": "{}"}
    assert brought_up(rows, 0, tmp_path) == {}


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_a_step_that_was_cut_off_is_done_again(tmp_path, step):
    (tmp_path / "kept" / "key" / "model").mkdir(parents=True)
    text = json.dumps({"summary": {}, "file": False, "folder": str(tmp_path / "kept" / "key" / "model")})
    once = STEPS[step]("folder:key", text, tmp_path)
    assert STEPS[step]("folder:key", once, tmp_path) == once


def test_a_new_store_is_stamped_and_says_nothing(tmp_path):
    store = Store(tmp_path)
    assert store.notices == [] and json.loads((tmp_path / STAMP).read_text()) == {"format": FORMAT}
    store.close()


def test_a_store_of_a_newer_version_is_refused_and_no_byte_of_it_changes(tmp_path):
    older(tmp_path)
    (tmp_path / STAMP).write_text(json.dumps({"format": FORMAT + 1}))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for opening in (Store, Responses):
        with pytest.raises(StoreError, match=rf"newer SinkScope \(format {FORMAT + 1}; this version writes {FORMAT}\)"):
            opening(tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("text", ["", "[]", '{"format": true}'])
def test_a_stamp_that_is_none_is_taken_for_the_oldest(tmp_path, text):
    older(tmp_path)
    (tmp_path / STAMP).write_text(text)
    store = Store(tmp_path)
    assert "earlier version" in store.notices[0] and row(store) == "kept/key/model"
    store.close()


def test_the_copy_of_a_damaged_store_is_brought_up_too(tmp_path):
    """The copy is of a day ago, and the stamp of now."""
    older(tmp_path)
    rows = {"folder:key": json.dumps({"summary": {}, "file": False, "folder": str(tmp_path / "kept/key/model")})}
    Store(tmp_path).close()
    (tmp_path / BACKUP).write_text("".join(json.dumps(pair) + "\n" for pair in rows.items()))
    halve(tmp_path / "runs" / DATABASE)
    store = Store(tmp_path)
    assert row(store) == "kept/key/model" and store.result("key") is not None
    store.close()


def test_jobs_of_another_version_are_counted_in_a_sentence_and_stay(tmp_path):
    store = Store(tmp_path)
    known = JobRecord(id="known", kind="record", spec={}, state="done", created=0)
    store.save_job("known", known.model_dump(mode="json"))
    store.save_job("later", {**known.model_dump(mode="json"), "id": "later", "kind": "a job of a later version"})
    engine = Engine(store, scheduler="")
    assert [job.id for job in engine.jobs()] == ["known"]
    assert any("cannot be read here (1)" in notice for notice in engine.notices())
    engine.close()
    assert store.job("later") is not None
    store.close()
