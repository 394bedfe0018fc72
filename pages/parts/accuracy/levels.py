"""Accuracies that a difference is of, setting by setting: dense, without and with the discount, and chance."""

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from pages.parts.charts import exhibit_table
from pages.parts.plain import plain

_TITLE = "Accuracy without and with the discount, %"
_SAID = "Right answers in percent: means over tasks and calibration seeds, in brackets the 95 % interval over items."
_PLACE = "levels"
_STYLE = f"""<style>
.st-key-{_PLACE}{{overflow-x:auto}}
.st-key-{_PLACE} :is(td,th){{padding:.35rem .5rem}}
</style>"""


def levels(rows: Sequence[Mapping[str, str]], key: str) -> None:
    """Draw what an accuracy is at each setting. rows: of `level_table`."""
    st.markdown(f"**{_TITLE}**", help=plain(_SAID))
    names = list(rows[0])
    cells = [" | ".join(plain(row[name]).replace(", ", ",\u00a0") for name in names) for row in rows]
    head = [" | ".join(plain(name) for name in names), " | ".join([":--", *("--:" for _ in names[1:])])]
    with st.container(key=_PLACE):
        st.html(_STYLE)
        st.markdown("\n".join(f"| {line} |" for line in [*head, *cells]))
    exhibit_table(_TITLE, _SAID, pd.DataFrame(rows), key)
