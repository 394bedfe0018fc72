"""Columns of shares are written in per cent with a space, and files keep the shares."""

import re

import pandas as pd
import streamlit as st

from pages.parts.charts import PER_CENT_CELLS, as_percent
from tests.helpers import ROOT


def test_columns_of_shares_are_shown_in_per_cent_and_others_stay():
    frame = pd.DataFrame({"share": [0.4614, None], "other": [0.5, 1.0]})
    columns = {"share": st.column_config.NumberColumn(format=PER_CENT_CELLS), "other": None}
    shown = as_percent(frame, columns)
    assert shown["share"].tolist()[0] == 46.14 and shown["other"].tolist() == [0.5, 1.0]
    assert PER_CENT_CELLS % shown["share"][0] == "46.1 %"
    assert frame["share"][0] == 0.4614, "what is downloaded"


def test_no_column_writes_per_cent_without_a_space():
    """Streamlit's own format would write `46.14%`; a slider of shares has no other."""
    own = re.compile(r'Column\([^)]*format="percent"')
    wrong = [path.name for path in (ROOT / "pages").rglob("*.py") if own.search(path.read_text("utf-8"))]
    assert not wrong
