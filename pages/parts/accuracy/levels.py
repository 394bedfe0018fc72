"""Accuracies that a difference is of, setting by setting: dense, without and with the discount, and chance."""

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from pages.parts.charts import exhibit_table
from pages.parts.plain import plain

_SAID = "Right answers in percent: means over tasks and calibration seeds, in brackets the 95 % interval over items."


def levels(rows: Sequence[Mapping[str, str]], key: str) -> None:
    """Draw what an accuracy is at each setting. rows: of `level_table`."""
    st.markdown("**Accuracy, %**", help=plain(_SAID))
    names = list(rows[0])
    cells = [" | ".join(plain(row[name]).replace(" ", "\u00a0") for name in names) for row in rows]
    head = [f"| {' | '.join(names)} |", f"| :-- {'| --: ' * (len(names) - 1)}|"]
    st.markdown("\n".join([*head, *(f"| {row} |" for row in cells)]))
    exhibit_table("Accuracy by setting", _SAID, pd.DataFrame(rows), key)
