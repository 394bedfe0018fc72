"""Add a column of an export: one row in `COLUMNS`, and its value in the table's function."""

from analysis.engine.stored_tables import COLUMNS, dictionary

COLUMNS["jobs"]["hours"] = "time from start to end, in hours"

described = dictionary().set_index(["table", "column"])["meaning"]
assert described["jobs", "hours"] == "time from start to end, in hours"
