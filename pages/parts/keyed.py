"""Columns that hold controls whose values stand in the address."""

from collections.abc import Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator


def keyed_columns(spec: int | Sequence[float], key: str, place: Any = st, **options: Any) -> Sequence[DeltaGenerator]:
    """Return columns that the browser takes for the same ones whatever is drawn above them.

    A block without a key is known by its place among its siblings. Where one more or less stands before it, the browser
    makes its controls anew before it takes the old ones away, and with these goes their tie to the address.
    options: of `st.columns`.
    """
    columns: Sequence[DeltaGenerator] = place.container(key=f"columns_{key}").columns(spec, **options)
    return columns
