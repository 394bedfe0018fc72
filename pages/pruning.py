"""Prune the model in use with one or several methods, watch it happen, and see what came out."""

import streamlit as st

from analysis.errors import UserError
from pages.parts.frame import run
from pages.parts.prune_plan import plan
from pages.parts.prune_runs import prune_runs
from pages.parts.prune_settings import prune_settings
from pages.parts.session import engine, model_in_use, plain


def main() -> None:
    """Draws the page."""
    st.title("Pruning")
    model = model_in_use()
    st.caption(
        f"Removes weights of `{model.source}` and writes the pruned checkpoint to a folder. "
        "The model in use stays as it is."
    )
    specs, problem = prune_settings(model)
    if problem:
        st.error(plain(problem))
    else:
        plan(specs)
    count = f" with {len(specs)} methods" if len(specs) > 1 else ""
    if st.button(
        f"Prune{count}", key="prune", type="primary", icon=":material/content_cut:", disabled=bool(problem),
        help=problem or None,
    ):  # fmt: skip
        try:
            for spec in specs:
                engine().submit("prune", spec)
        except UserError as error:
            st.error(str(error))
        else:
            st.rerun()
    st.divider()
    prune_runs()


if __name__ == "__main__":
    run(main)
