"""The accuracy panel on a page of its own: the evaluation named in the address."""

import streamlit as st

from pages.parts.accuracy.panel import accuracy_panel
from pages.parts.session import engine

st.set_page_config(layout="wide")
record = engine().job(st.query_params.get("evaluation", ""))
if record is None:
    st.write("no evaluation")
else:
    accuracy_panel(record)
