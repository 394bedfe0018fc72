"""Add an experiment tracker: one row in `TRACKERS`, which writes a scored point with the tracker's package."""

from analysis.command_line.sweep import TRACKERS, LoggedPoint, Tracker

TRACKERS.add(Tracker("aim", "Aim", lambda aim, point: aim.Run(experiment=point.group).set("metrics", point.metrics)))

scored = LoggedPoint("sinkscope", "1f", "wanda 0.5", "group", {"method": "wanda"}, {"accuracy": 0.5})
assert TRACKERS["aim"].title == "Aim" and scored.metrics["accuracy"] == 0.5
