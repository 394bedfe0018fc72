"""Many prompts: where a model's sinks are and how they move, beside their nulls; what a study claims of them; and what
papers claim, tested on a model.
"""

from typing import Any

from analysis.words import model_title
from pages.parts.charts import export_button, start_exhibits
from pages.parts.claims import tested_claims
from pages.parts.controls import titled_views
from pages.parts.frame import run
from pages.parts.recordings.by_layer import VIEWS, by_layer
from pages.parts.study.other_models import claims, without_sets

CLAIMS = "What papers claim"


def main() -> None:
    """Draw the page."""
    view = titled_views("Evidence", (*VIEWS, CLAIMS))
    start_exhibits()
    settings: dict[str, Any] | None
    if view == CLAIMS:
        settings = tested_claims()
        claims(expanded=settings is None)
        if settings is not None:
            export_button("SinkScope: claims about sinks", settings, model_title(settings["model"]["source"]))
        return
    settings = by_layer(view, without_sets)
    if settings is not None:
        export_button(f"SinkScope: evidence, {view[0].lower()}{view[1:]}", settings, ", ".join(settings))


if __name__ == "__main__":
    run(main)
