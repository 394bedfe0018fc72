"""Columns for controls whose values are in the address."""

from collections.abc import Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator


def keyed_columns(spec: int | Sequence[float], key: str, place: Any = st, **options: Any) -> Sequence[DeltaGenerator]:
    """Return columns that the browser recognises whatever is drawn above them.

    A block without a key is known by its place among its siblings. If one more or less precedes it, the browser makes
    its controls anew before it removes the old ones, and with these goes their tie to the address. options: of
    `st.columns`.
    """
    columns: Sequence[DeltaGenerator] = place.container(key=f"columns_{key}").columns(spec, **options)
    return columns
