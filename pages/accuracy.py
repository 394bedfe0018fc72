"""What pruning cost: the dense model and finished runs of it on benchmark tasks, compared as the items come in."""

import streamlit as st

from pages.parts.accuracy.choice import accuracy_of
from pages.parts.charts import start_exhibits
from pages.parts.frame import run
from pages.parts.plain import code
from pages.parts.session import model_in_use, model_name


def main() -> None:
    """Draws the page."""
    st.title("Accuracy")
    start_exhibits()
    model = model_in_use()
    st.caption(
        f"Puts the same items to {code(model_name(model.source))} and to pruned copies of it, so that differences are "
        "paired, item by item."
    )
    accuracy_of(model)


if __name__ == "__main__":
    run(main)
