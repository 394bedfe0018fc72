"""Many prompts: where a model's sinks are and how they move, beside their nulls; what a study claims of them; and what
papers claim, tested on a model.
"""

from typing import Any

import streamlit as st

from pages.parts.charts import export_button, start_exhibits
from pages.parts.claims.panel import tested_claims
from pages.parts.frame import run
from pages.parts.recordings.by_layer import by_layer
from pages.parts.study.claims import claims

SETS, CLAIMS = "Sinks over prompts", "What papers claim"
_ASKS = {
    SETS: "Which tokens are sinks, and do they move?",
    CLAIMS: "Does what papers say about sinks hold for your model?",
}


def main() -> None:
    """Draws the page."""
    st.title("Evidence")
    question = st.container()
    start_exhibits()
    part = st.segmented_control(
        "Part",
        (SETS, CLAIMS),
        default=SETS,
        required=True,
        key="evidence_part",
        bind="query-params",
        label_visibility="collapsed",
    )
    question.caption(_ASKS[part])
    settings: dict[str, Any] | None
    if part == CLAIMS:
        settings = tested_claims()
        if settings is not None:
            export_button("SinkScope: claims about sinks", settings, settings["model"]["source"])
        return
    settings = by_layer()
    claims(expanded=settings is None)
    if settings is not None:
        export_button("SinkScope: evidence", settings, ", ".join(settings))


if __name__ == "__main__":
    run(main)
