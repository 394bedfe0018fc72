"""The store: what it keeps, and that nothing hostile in it is ever unpickled or followed."""

import os
import pickle
import sqlite3
import stat
from pathlib import Path

import pytest

from cache.keys import content_key
from cache.store import PlainDisk, RefusedRow, Store

SPRUNG: list[str] = []


class Trap:
    """Unpickling it leaves a mark."""

    def __reduce__(self):
        return (SPRUNG.append, ("ran",))


def execute(store: Store, cache: str, statement: str, values=()):
    with sqlite3.connect(store.root / cache / "cache.db") as database:
        database.execute(statement, values)


@pytest.fixture(autouse=True)
def no_trap_springs():
    SPRUNG.clear()
    yield
    assert SPRUNG == []


def test_results_come_back_with_their_file(store, tmp_path):
    (tmp_path / "arrays").write_bytes(b"x" * 100_000)
    store.add_result("key", {"a": 1}, tmp_path / "arrays")
    result = store.result("key")
    assert result.summary == {"a": 1}
    assert result.file.read_bytes() == b"x" * 100_000
    assert not (tmp_path / "arrays").exists()
    assert store.result("other") is None
    store.delete_result("key")
    assert store.result("key") is None


def test_a_file_is_moved_in_and_copied_where_it_cannot_be(store, tmp_path, monkeypatch):
    def taken(name):
        file = tmp_path / name
        file.write_bytes(name.encode())
        number = file.stat().st_ino
        return file, number

    def moved(name, file, number):
        store.add_result(name, {}, file)
        result = store.result(name).file
        assert result.read_bytes() == name.encode() and not file.exists()
        return result.stat().st_ino == number

    assert moved("whole", *taken("whole"))
    file, number = taken("named twice")  # whose other name stays: its content may change
    os.link(file, tmp_path / "other name")
    assert not moved("named twice", file, number)
    monkeypatch.setattr(os, "link", lambda *paths: (_ for _ in ()).throw(OSError("another disk")))
    assert not moved("elsewhere", *taken("elsewhere"))


def test_a_result_whose_file_is_gone_is_none(store, tmp_path):
    (tmp_path / "arrays").write_bytes(b"x" * 100_000)
    store.add_result("key", {}, tmp_path / "arrays")
    store.result("key").file.unlink()
    assert store.result("key") is None


def test_jobs_outlive_the_process(tmp_path):
    first = Store(tmp_path)
    first.save_job("a", {"id": "a", "state": "done"})
    first.close()
    second = Store(tmp_path)
    assert list(second.jobs()) == [{"id": "a", "state": "done"}]
    second.delete_job("a")
    assert list(second.jobs()) == []
    second.close()


def test_the_folder_is_private(store):
    for folder in (store.root, store.root / "results", store.root / "runs", store.incoming):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_of_the_users_own_keeps_its_permissions_and_may_have_any_name(tmp_path):
    root = tmp_path / "my #1? store"
    root.mkdir(mode=0o755)
    store = Store(root)
    store.save_job("a", {"id": "a"})
    assert list(store.jobs()) == [{"id": "a"}]
    assert stat.S_IMODE(root.stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "runs").stat().st_mode) == 0o700
    store.close()


def test_the_size_limit_evicts_old_results_and_never_jobs(tmp_path):
    store = Store(tmp_path / "store", results_limit=2_000_000)
    store.save_job("a", {"id": "a"})
    for index in range(12):
        file = tmp_path / f"{index}"
        file.write_bytes(os.urandom(300_000))
        store.add_result(f"key{index}", {}, file)
    kept = [index for index in range(12) if store.result(f"key{index}") is not None]
    assert 11 in kept
    assert 0 not in kept
    assert list(store.jobs()) == [{"id": "a"}]
    store.close()


# --- hostile rows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inline", [True, False], ids=["in the row", "in a file"])
def test_a_pickled_value_is_never_opened(store, inline):
    store.add_result("key", {"a": 1})
    store.save_job("key", {"id": "key"})
    bomb = pickle.dumps(Trap())
    for cache in ("results", "runs"):
        (store.root / cache / "bomb.val").write_bytes(bomb)
        value, name = (bomb, None) if inline else (None, "bomb.val")
        execute(store, cache, "UPDATE Cache SET mode = 4, value = ?, filename = ?", (value, name))
    assert store.result("key") is None
    assert store.job("key") is None
    assert list(store.jobs()) == []


def test_a_pickled_key_is_passed_over(store):
    store.save_job("good", {"id": "good"})
    bomb = sqlite3.Binary(pickle.dumps(Trap()))
    execute(
        store,
        "runs",
        "INSERT INTO Cache (key, raw, store_time, access_time, size, mode, value) VALUES (?, 0, 0, 0, 0, 1, '{}')",
        (bomb,),
    )
    assert list(store.jobs()) == [{"id": "good"}]
    with pytest.raises(RefusedRow):
        list(store._runs)


def test_a_file_name_that_leaves_the_folder_is_not_followed(store, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text('{"summary": {"stolen": true}, "file": false}')
    store.add_result("key", {})
    execute(store, "results", "UPDATE Cache SET mode = 3, value = NULL, filename = ?", (f"../../{secret.name}",))
    assert store.result("key") is None
    execute(store, "results", "UPDATE Cache SET filename = ?", (str(secret),))
    assert store.result("key") is None
    store.delete_result("key")
    assert secret.exists()


def test_rows_that_are_not_json_are_none(store):
    store.add_result("key", {})
    store.save_job("a", {})
    for cache in ("results", "runs"):
        execute(store, cache, "UPDATE Cache SET value = 'not json', mode = 1, filename = NULL")
    assert store.result("key") is None
    assert store.job("a") is None


def test_only_text_and_bytes_are_written(tmp_path):
    disk = PlainDisk(str(tmp_path))
    for value in (1, 1.5, None, {"a": 1}, [1], Trap()):
        with pytest.raises(TypeError):
            disk.store(value, read=False)
    for key in (1, b"x", ("a",), None):
        with pytest.raises(TypeError):
            disk.put(key)


def test_no_module_of_the_project_uses_pickle():
    root = Path(__file__).parents[2]
    sources = [*root.glob("analysis/**/*.py"), *root.glob("cache/*.py"), *root.glob("pages/**/*.py"), root / "app.py"]
    offenders = [path for path in sources if "import pickle" in path.read_text() or "pickle.load" in path.read_text()]
    assert offenders == []


# --- keys -------------------------------------------------------------------------------------------------------


def test_keys_follow_content_whatever_the_order():
    assert content_key(a=1, b=[1, 2]) == content_key(b=[1, 2], a=1)
    assert content_key(a=1) != content_key(a=2)
    assert content_key(a=1) != content_key(b=1)
    with pytest.raises(ValueError, match="JSON compliant"):
        content_key(a=float("nan"))


def test_a_folder_can_be_thinned_to_some_files_under_another_name(store):
    folder = store.incoming / "pruned"
    folder.mkdir()
    for name in ("model.safetensors", "masks.safetensors", "report.json"):
        (folder / name).write_text(name)
    store.add_result("whole", {"a": 1}, folder=folder)
    store.keep_only("whole", "thin", ("masks.safetensors", "report.json"))
    assert store.result("whole") is None and not (store.kept / "whole").exists()
    thin = store.result("thin")
    assert thin.summary == {"a": 1}
    assert sorted(path.name for path in thin.folder.iterdir()) == ["masks.safetensors", "report.json"]
    store.delete_result("thin")
    assert not (store.kept / "thin").exists(), "what was thinned can be removed as any folder of the store"
    with pytest.raises(KeyError):
        store.keep_only("whole", "thin", ())


@pytest.mark.parametrize("where", ["replace", "delete_result"])
def test_thinning_that_was_cut_off_is_finished_by_the_same_call(store, monkeypatch, where):
    folder = store.incoming / "pruned"
    folder.mkdir()
    for name in ("model.safetensors", "report.json"):
        (folder / name).write_text(name)
    store.add_result("whole", {"a": 1}, folder=folder)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path if where == "replace" else type(store), where, killed)
        store.keep_only("whole", "thin", ("report.json",))
    store.keep_only("whole", "thin", ("report.json",))
    assert store.result("whole") is None
    assert [path.name for path in store.result("thin").folder.iterdir()] == ["report.json"]


def test_a_folder_outside_the_store_is_never_thinned(store, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "model.safetensors").write_text("mine")
    store.add_result("mine", {}, folder=folder)
    with pytest.raises(ValueError, match="not the store's own"):
        store.keep_only("mine", "thin", ())
    assert (folder / "model.safetensors").is_file()
