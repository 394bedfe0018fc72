"""The way from the page Pruning to the page Accuracy, where the panel of that name once stood."""

import streamlit as st

from analysis.specs import ModelSpec
from pages.parts.session import engine

PAGE = "pages/accuracy.py"
# What the panel put into an address; the other parameters of a page of prunings are its own.
_OF_PANEL = ("evaluation", "accuracy_", "disagree_", "conditions_")


def follow_old_address() -> None:
    """Leads to the page Accuracy where the address names something of it, with all that it names."""
    named = st.query_params.to_dict()
    if not any(name.startswith(_OF_PANEL) for name in named):
        return
    with st.container(border=True):
        st.markdown("This address names a comparison of accuracies. It stands on a page of its own.")
        chosen = {name: st.query_params.get_all(name) for name in named}
        st.page_link(PAGE, label="**Show it**", icon=":material/monitoring:", query_params=chosen)


def to_accuracy(model: ModelSpec) -> None:
    """Leads on, once a pruning of this model has finished."""
    st.subheader("Accuracy")
    finished = [job for job in engine().jobs("prune") if job.spec["model"]["source"] == model.source]
    if any(engine().has_result(job) for job in finished):
        st.markdown("See what the pruned models have lost, on the same items, with the intervals of the differences.")
    else:
        st.caption("When a pruning of this model has finished, its accuracy can be compared with the dense model's.")
    st.page_link(PAGE, label="**Compare the accuracy**", icon=":material/monitoring:")
