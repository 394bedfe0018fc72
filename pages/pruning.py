"""Prune the model in use with one or several methods, watch it happen, and see what came out."""

import streamlit as st

from analysis.specs import ModelSpec, PruneSpec
from pages.parts import permission
from pages.parts.accuracy.choice import accuracy_of
from pages.parts.acting import acting_button
from pages.parts.charts import start_exhibits
from pages.parts.frame import run
from pages.parts.plain import code, plain
from pages.parts.pruning.plan import plan
from pages.parts.pruning.runs import prune_runs
from pages.parts.pruning.settings import prune_settings
from pages.parts.session import model_in_use, submit
from pages.parts.side import controls_and_results
from pages.parts.trouble import refusal_kept, say_refusal

_PLACE = "prune"


def main() -> None:
    """Draws the page."""
    st.title("Pruning")
    start_exhibits()
    model = model_in_use()
    st.caption(
        f"Removes weights of {code(model.source)} and writes the pruned checkpoint to a folder. "
        "The model in use stays as it is."
    )
    asked, results = controls_and_results()
    with asked:
        _what_to_prune(model)
    with results:
        prune_runs()
        st.divider()
        st.subheader("Accuracy")
        accuracy_of(model)


def _what_to_prune(model: ModelSpec) -> None:
    """The settings, what they will take, and the button that starts."""
    specs, problem = prune_settings(model)
    takes, buttons = st.container(), st.container(horizontal=True)
    count = f" with {len(specs)} methods" if len(specs) > 1 else ""
    acting_button(
        f"Prune{count}",
        "prune",
        buttons,
        type="primary",
        icon=":material/content_cut:",
        disabled=bool(problem),
        help=plain(problem) or None,
        on_click=_launch,
        args=(specs,),
    )
    with takes:
        if problem:
            st.error(plain(problem))
        else:
            plan(specs, buttons)
    say_refusal(_PLACE)
    st.divider()


def _launch(specs: list[PruneSpec]) -> None:
    """A callback, so that no rerun that something else on the page asks for can lose the click."""
    with refusal_kept(_PLACE):
        for spec in specs:
            permission.allow(spec.model.source)
            submit("prune", spec)


if __name__ == "__main__":
    run(main)
