"""The form in which a visitor names, tags, notes and stars something, and its display."""

from collections.abc import Callable

import streamlit as st

from analysis.engine.runs import Label
from pages.parts.plain import plain
from pages.parts.user_errors import told


def label_form(subject: str, name: str, label: Label, save: Callable[[Label], None]) -> None:
    """Draw the form. subject: id of the labelled thing. name: its current name. save: stores what was entered; the form
    shows why it refuses.
    """
    with st.form(f"label_{subject}", border=False):
        left, right = st.columns([3, 1], vertical_alignment="bottom")
        entered = left.text_input("Name", name, key=f"name_{subject}", help="Empty: the automatic one.")
        star = right.toggle("Starred", label.star, key=f"star_{subject}")
        tags = st.text_input("Tags", ", ".join(label.tags), key=f"tags_{subject}", help="With commas between.")
        note = st.text_area("Notes", label.note, key=f"note_{subject}")
        if st.form_submit_button("Save", icon=":material/save:"):
            with told():
                save(Label(name=entered, tags=tuple(tags.split(",")), note=note, star=star))
                st.rerun()


def label_said(label: Label) -> None:
    """Draw tags and notes, if any."""
    tags = " · ".join(plain(tag) for tag in label.tags)
    said = "  \n".join(part for part in (tags and f"Tags: {tags}", plain(label.note)) if part)
    if said:
        st.markdown(said)
