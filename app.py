"""SinkScope: attention sinks in diffusion language models. Run with `streamlit run app.py`.

This file is executed in three ways, told apart by its name: the server imports it as `app` and serves the application
it defines; for every visitor it is the script, `__main__`; worker processes execute it as they start, to no effect.
"""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import streamlit as st

# A file of our own: the browser asks Google's servers for the shape of a `:material/…:` icon of a page.
ICON = Path(__file__).parent / "pages" / "icon.svg"


def main() -> None:
    """Navigation and sidebar; then the page."""
    from pages.parts.frame import inside_app
    from pages.parts.plain import plain
    from pages.parts.session import why_no_engine
    from pages.parts.sidebar import show_what_began, sidebar
    from pages.parts.trouble import told

    st.set_page_config(page_title="SinkScope", page_icon=str(ICON), layout="wide")
    page = st.navigation(
        [
            st.Page("pages/overview.py", title="Overview", icon=":material/home:", default=True),
            st.Page("pages/denoise.py", title="Denoise", icon=":material/blur_on:"),
            st.Page("pages/sinks.py", title="Sinks", icon=":material/grid_view:"),
            st.Page("pages/dynamics.py", title="Dynamics", icon=":material/timeline:"),
            st.Page("pages/tuning.py", title="Tuning", icon=":material/tune:"),
            st.Page("pages/pruning.py", title="Pruning", icon=":material/content_cut:"),
            st.Page("pages/masks.py", title="Masks", icon=":material/grid_on:"),
        ]
    )
    # Streamlit leaves wide margins; a page of plots needs them.
    st.html("<style>[data-testid='stMainBlockContainer']{padding:3rem 3rem}</style>")
    problem = why_no_engine()
    if problem:
        st.title(plain(page.title))
        st.error(plain(problem))
        return
    with told():
        sidebar()
    with inside_app():
        page.run()
    show_what_began()


@contextlib.asynccontextmanager
async def lifespan(server: st.App) -> AsyncIterator[None]:
    """Around the time the server runs: the engine starts with it, so that what waits in its queue runs."""
    from pages.parts.session import start_engine

    start_engine()
    yield


if __name__ == "__main__":
    main()
elif __name__ == "app":
    app = st.App(__file__, lifespan=lifespan)
