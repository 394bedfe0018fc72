"""Finished files and folders take the place of what SinkScope wrote, of nothing else, and never leave a gap."""

import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from analysis import outputs
from analysis.errors import UserError
from analysis.evaluation import items_file
from analysis.pruned import report_file
from analysis.pruning.saving import finished_folder
from analysis.recording import trajectory_file
from cache.presence import machine, this_process

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges names here")


def ours(path: Path) -> bool:
    return path.read_text().startswith("sinkscope")


REFUSAL = outputs.file_refusal(ours)


def pruned(folder: Path, mark: str) -> Path:
    """A folder as pruning leaves it, as far as replacing goes."""
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps({"parameters": {"method": mark}}))
    (folder / "model.safetensors").write_text(mark)
    return folder


def method(folder: Path) -> str:
    return report_file.read_report(folder).settings["method"]


def special(kind: str, path: Path) -> None:
    if kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    elif kind == "a link":
        (path.parent / "target").write_text("sinkscope: mine")
        path.symlink_to("target")
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ["a named pipe", "a socket", "a link", "a folder"])
@pytest.mark.parametrize("refusal", [REFUSAL, trajectory_file.refusal, items_file.refusal])
def test_only_regular_files_are_replaced(kind, refusal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's name must be short
    out = Path("out")
    special(kind, out)
    before = out.lstat()
    with pytest.raises(UserError, match=f"is {kind} and no regular file, so it is not replaced"):
        outputs.check(out, True, refusal)
    new = Path("new")
    new.write_text("sinkscope: new")
    with pytest.raises(UserError, match="not replaced"):
        outputs.place(new, out, True, refusal)
    assert (out.lstat().st_ino, out.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert new.read_text() == "sinkscope: new"


def test_only_files_that_sinkscope_wrote_are_replaced(tmp_path):
    new, out = tmp_path / "new", tmp_path / "out"
    for content, replaced in (("thesis", False), ("sinkscope: old", True), ("", True)):
        new.write_text("sinkscope: new")
        out.write_text(content)
        if not replaced:
            with pytest.raises(UserError, match="was not written by SinkScope"):
                outputs.place(new, out, True, REFUSAL)
            assert out.read_text() == content
            continue
        with pytest.raises(UserError, match="--overwrite"):
            outputs.place(new, out, False, REFUSAL)
        assert outputs.place(new, out, True, REFUSAL) == ""
        assert out.read_text() == "sinkscope: new"
        assert not new.exists()


@linux
def test_what_came_in_the_last_moment_is_put_back(tmp_path, monkeypatch):
    """Between the check and the exchange someone else's file takes the place."""
    new, out = tmp_path / "new", tmp_path / "out"
    new.write_text("sinkscope: new")
    out.write_text("thesis")
    monkeypatch.setattr(outputs, "check", lambda *_: None)
    with pytest.raises(UserError, match="was not replaced"):
        outputs.place(new, out, True, REFUSAL)
    assert (new.read_text(), out.read_text()) == ("sinkscope: new", "thesis")
    monkeypatch.setattr(outputs.os.path, "lexists", lambda path: False)
    with pytest.raises(UserError, match="File exists"):
        outputs.place(new, out, False, REFUSAL)
    assert (new.read_text(), out.read_text()) == ("sinkscope: new", "thesis")


@linux
def test_a_reader_always_finds_a_whole_folder(tmp_path):
    """Where the old folder was renamed away first, a reader met neither within a few hundred tries."""
    out = pruned(tmp_path / "out", "0")
    missed, stop = [], threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                held = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
                os.close(held)
            except OSError as error:
                missed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for count in range(300):
            outputs.place(pruned(tmp_path / "new", str(count)), out, True, report_file.refusal)
    finally:
        stop.set()
        reader.join()
    assert missed == []
    assert method(out) == "299"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("foreign", ["notes.md", "sub/x.json", "link.json"])
def test_a_folder_with_anything_else_in_it_stays(foreign, tmp_path):
    out = pruned(tmp_path / "out", "old")
    (out / foreign).parent.mkdir(exist_ok=True)
    (out / foreign).symlink_to("model.safetensors") if foreign == "link.json" else (out / foreign).write_text("mine")
    with pytest.raises(UserError, match=f"holds '{foreign.split('/')[0]}'"):
        outputs.check(out, True, report_file.refusal)
    shutil.rmtree(out)
    out.mkdir()
    (out / "report.json").write_text('{"suites": []}')  # another program's report
    with pytest.raises(UserError, match="was not written by SinkScope"):
        outputs.check(out, True, report_file.refusal)


def test_without_an_exchange_it_is_said_and_a_failure_brings_the_old_one_back(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "_renameat2", lambda *_: False)
    out, log = pruned(tmp_path / "out", "old"), []
    with finished_folder(out, True, log.append) as folder:
        shutil.copytree(pruned(tmp_path / "made", "new"), folder, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "made")
    assert log == [outputs.NOT_IN_ONE_STEP]
    assert method(out) == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(UserError, match="cannot be written"), finished_folder(out, True, log.append) as folder:
        folder.rename(tmp_path / "gone")  # so that the second of the two renames fails
        folder.mkdir()
        monkeypatch.setattr(Path, "is_dir", lambda path: (shutil.rmtree(folder, ignore_errors=True), True)[1])
    monkeypatch.undo()
    assert method(out) == "new"


@pytest.mark.parametrize(
    ("name", "said"),
    [("", "no name"), ("x" * 300, "too long"), ("a\0b", "NUL"), ("file/x", "where a folder"), ("loop/x", "circle")],
)
def test_names_that_cannot_be_written_are_said_before_the_work(name, said, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UserError, match=said):
        outputs.check(tmp_path / name if name else Path(name), False, REFUSAL)


def test_a_file_that_ended_elsewhere_is_still_in_place_after_an_interruption(tmp_path):
    out = pruned(tmp_path / "out", "old")
    with pytest.raises(KeyboardInterrupt), finished_folder(out, True, print) as folder:
        (folder / "report.json").write_text("{}")
        raise KeyboardInterrupt
    assert method(out) == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# --- where they are made ----------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the child is a fork of this process")
@pytest.mark.parametrize("private", [True, False])
def test_what_a_killed_process_left_is_removed_by_the_next_one_there(tmp_path, private):
    child = os.fork()
    if child == 0:
        with outputs.workplace(tmp_path, "recording", private) as folder:
            (folder / "half").write_text("x")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    [left] = tmp_path.iterdir()
    with outputs.workplace(tmp_path, "sinks") as folder:
        assert list(tmp_path.iterdir()) == [folder] and folder != left
    assert list(tmp_path.iterdir()) == []


def test_what_others_are_working_on_and_what_is_called_otherwise_stays(tmp_path):
    gone = this_process().rpartition("@")[0] + "@1"  # this process's id, of one that began at another time
    elsewhere = f"another-{machine()}_1@1"
    stays = {
        f".recording~{this_process()}~0a1b2c3d",
        f".recording~{elsewhere}~0a1b2c3d",
        ".recording-abc12345",
        f".recording~{gone}~mine",
        "recording",
    }
    for name in stays:
        (tmp_path / name).mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "mine").write_text("mine")
    (tmp_path / f".link~{gone}~0a1b2c3d").symlink_to("target")
    (tmp_path / f".file~{gone}~0a1b2c3d").write_text("mine")
    (tmp_path / f".sinks~{gone}~0a1b2c3d").mkdir()
    (tmp_path / f".old~{elsewhere}~0a1b2c3d").mkdir()
    os.utime(tmp_path / f".old~{elsewhere}~0a1b2c3d", (0, time.time() - 8 * 86400))
    outputs.remove_abandoned(tmp_path)
    kept = {"target", f".link~{gone}~0a1b2c3d", f".file~{gone}~0a1b2c3d"}
    assert {path.name for path in tmp_path.iterdir()} == stays | kept
    assert (tmp_path / "target" / "mine").is_file()
    outputs.remove_abandoned(tmp_path / "nowhere")
