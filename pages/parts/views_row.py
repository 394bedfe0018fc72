"""The views of a page's lower part to choose from, with room at their right for what belongs to the chosen one."""

from collections.abc import Sequence

from streamlit.delta_generator import DeltaGenerator

from pages.parts.keyed import keyed_columns


def views_row(views: Sequence[str], key: str) -> tuple[str, DeltaGenerator]:
    """Draw the choice of a view, the first unless the address names one; return it, and the room at its right."""
    left, right = keyed_columns([5, 4], f"{key}_row", vertical_alignment="center")
    view = left.segmented_control(
        "View", views, default=views[0], required=True, key=key, bind="query-params", label_visibility="collapsed"
    )
    return str(view), right.container(horizontal=True, horizontal_alignment="right", key=f"{key}_beside")
