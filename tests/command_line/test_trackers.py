"""Sweeps logged to experiment trackers, with stand-ins for the trackers' packages."""

import sys

import pytest

from analysis.__main__ import main
from analysis.command_line import sweep as trackers
from analysis.command_line.sweep import TRACKERS, LoggedPoint, SweepLog
from analysis.specs import SweepSpec

METRICS = {"accuracy": 0.5, "GSM8K (%)": 0.25}
POINT = LoggedPoint("mine", "id-1", "wanda 0.5 seed 0", "group-1", {"calibration.seed": 0}, METRICS)


class Package:
    """A tracker's package that keeps what it is told."""

    def __init__(self):
        self.told = []
        self.summary = {}

    def __getattr__(self, name):
        def tell(*words, **options):
            self.told.append((name, words, options))
            return self

        return tell

    def options_of(self, name):
        return next(options for called, _, options in self.told if called == name)


def test_wandb_gets_the_point_under_its_own_id():
    package = Package()
    TRACKERS["wandb"].log(package, POINT)
    begun = package.options_of("init")
    assert (begun["project"], begun["id"], begun["resume"]) == ("mine", "id-1", "allow")
    assert package.summary == POINT.metrics and package.told[-1][0] == "finish"


def test_a_tracker_that_fails_is_left_alone_and_the_sweep_goes_on(monkeypatch, capsys):
    asked = []

    def refuse(package, point):
        asked.append(point)
        if len(asked) == 2:
            raise OSError("the tracker's own words")

    def logged(project, sweep, name):
        return LoggedPoint(project, name, f"point {name}", "group", {}, {})

    monkeypatch.setattr(trackers, "logged_point", logged)
    log = SweepLog(trackers.Tracker("mine", "My tracker", refuse), None, "mine", SweepSpec(), lambda: ["a", "b", "c"])
    log.look(at_once=True)
    log.look(at_once=True)
    assert [point.id for point in asked] == ["a", "b"]
    said = capsys.readouterr().err
    assert "My tracker did not accept 'point b'" in said and "the tracker's own words" not in said


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_not_installed_is_one_line_and_starts_nothing(name, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(sys.modules, name, None)
    assert main(["sweep", "--log", name, "--out", str(tmp_path / "swept")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{TRACKERS[name].title} is not installed" in line and f"pip install {name}" in line
    assert not (tmp_path / "home").exists()
