"""Effects of sinks: what a model loses when they are hidden, in one prompt or many, or when a share of the cache is
kept; and how pruning changes them.
"""

from dataclasses import replace

import streamlit as st

from pages.parts.address import link_buttons
from pages.parts.causes.one_prompt import ablation, beside_another
from pages.parts.causes.over_prompts import ABLATION, EVICTION
from pages.parts.causes.results import NEXT
from pages.parts.charts import export_button, start_exhibits
from pages.parts.controls import plots_and_controls, titled_views
from pages.parts.frame import run
from pages.parts.recordings.choice import recording_in_hand, recording_to_look_at, sink_controls
from pages.parts.session import model_in_use
from pages.parts.study.other_models import one_text, other_models, study_answer


def _discount() -> None:
    """Draw the link to what a reader does next."""
    with link_buttons(NEXT):
        st.page_link("pages/prune.py", label="Discount sinks when pruning", icon=":material/content_cut:")


HIDING = replace(ABLATION, next_step=_discount, others=other_models, before=study_answer, example=one_text)
OVER_PROMPTS = {"Many prompts": HIDING, "Cache eviction": EVICTION}
OF_ONE = {"One prompt": ablation, "Dense against pruned": beside_another}
VIEWS = ("Many prompts", "One prompt", "Cache eviction", "Dense against pruned")
SHOWS = (
    "This page hides a recording's sinks and shows how far the text changes compared with hiding as many other "
    "tokens. It also keeps only a share of the cache, and compares the sinks of a dense and a pruned model."
)


def main() -> None:
    """Draw the page."""
    start_exhibits()
    for experiment in (HIDING, EVICTION):
        job = experiment.stated()
        if job is not None:
            st.title("Causes")
            experiment.shown(job)
            name = experiment.name
            export_button(f"SinkScope: causes, {name} over prompts", experiment.settings(job), name)
            return
    # First: a view that is not drawn while a recording runs would be forgotten.
    view = titled_views("Causes", VIEWS)
    over_prompts, first = OVER_PROMPTS.get(view), st.container(key="causes_first")
    recording = recording_to_look_at(SHOWS) if over_prompts is None else recording_in_hand(SHOWS)
    if recording is None:
        if over_prompts is HIDING:
            with first:
                study_answer(model_in_use().source)
        return
    if over_prompts is not None:
        job = over_prompts.view(recording)
        if job is not None:
            name = over_prompts.name
            export_button(f"SinkScope: causes, {name} over prompts", over_prompts.settings(job), name)
        return
    plots, side = plots_and_controls()
    with side:
        first = st.container()  # a view's controls come above the definition of a sink
        params = sink_controls(stacked=True)
    with plots:
        OF_ONE[view](recording, params, first)
    export_button(
        f"SinkScope: causes, {view.lower()}",
        {**recording.settings(), "sinks": params.model_dump()},
        recording.info.prompt,
    )


if __name__ == "__main__":
    run(main)
