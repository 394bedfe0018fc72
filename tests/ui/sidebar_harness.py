"""Pages that ask for long recordings: under the sidebar by a button, or by a slider. Workers execute this file, too."""

from unittest.mock import patch

import streamlit as st

from analysis.specs import LLaDASampling, ModelSpec, RecordSpec
from pages.parts.asking import ask
from pages.parts.frame import show_what_began, sidebar
from pages.parts.session import submit


def long(seed: int) -> RecordSpec:
    """Takes many seconds: 240 steps in 240 blocks of one token each."""
    sampling = LLaDASampling(gen_length=240, steps=240, cfg=1.0)
    return RecordSpec(model=ModelSpec(device="cpu"), prompt="ben is", sampling=sampling, seed=seed)


def asks() -> None:
    """The sidebar is drawn before the button is looked at; without the way to a page that only the app has."""
    with patch("pages.parts.frame.study_panel"):
        sidebar(st.Page(asks))
    if st.button("Ask", key="ask"):
        submit("record", long(1))
    show_what_began()


def moves() -> None:
    """Asks anew at every move."""
    ask("record", long(st.slider("Seed", 2, 9, key="seed")), "Recording", "here")


if __name__ == "__main__":
    {"asks": asks, "moves": moves}[st.query_params["page"]]()
