"""Many prompts: where a model's sinks are and how they move, beside their nulls; and what a study claims of them."""

import streamlit as st

from pages.parts.charts import export_button, start_exhibits
from pages.parts.frame import run
from pages.parts.recordings.by_layer import by_layer
from pages.parts.study.claims import claims


def main() -> None:
    """Draws the page."""
    st.title("Evidence")
    st.caption("Many prompts: which tokens are a model's sinks, layer by layer, and how they move, beside their nulls.")
    start_exhibits()
    settings = by_layer()
    claims(expanded=settings is None)
    if settings is not None:
        export_button("SinkScope: evidence", settings, ", ".join(settings))


if __name__ == "__main__":
    run(main)
