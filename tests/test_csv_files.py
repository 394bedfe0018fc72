"""A spreadsheet reads an exported table as text and numbers, and runs nothing of it."""

import csv
import io

import pandas as pd
import pytest

from analysis.table_files import csv_of_rows, csv_of_table, inert

HOSTILE = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "-a\r=1"]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_that_begins_as_a_formula_is_text(text):
    table = pd.DataFrame({"token": [text, "a"], "mass": [-1.5, 2]})
    for written in (csv_of_table(table), csv_of_rows(table.to_dict("records"))):
        rows = list(csv.reader(io.StringIO(written, newline="")))
        assert rows == [["token", "mass"], [f"'{text}", "-1.5"], ["a", "2.0"]]
    assert csv_of_table(pd.DataFrame({text: [1]})).startswith(("'", "\"'"))
    assert csv_of_table(pd.DataFrame({"kind": pd.Categorical([text])})).splitlines()[1].startswith(("'", "\"'"))


def test_numbers_and_other_text_stay_as_they_are():
    for value in ("-0.5", "+3", "-1e-9", "a=b", "", None, -2, True, "−1"):
        assert inert(value) == value
    table = pd.DataFrame({"change": ["-0.5", None], "count": [1, 2], "name": ["a,b", 'c"d']})
    assert csv_of_table(table) == table.to_csv(index=False)
    assert csv_of_rows([{"a": 1}, {"b": "x"}]) == "a,b\r\n1,\r\n,x\r\n"
