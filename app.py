"""SinkScope: attention sinks in diffusion language models. Run with `streamlit run app.py`.

The body is guarded because worker processes execute this file again as they start.
"""

import streamlit as st


def main() -> None:
    """Navigation and sidebar; then the page."""
    from pages.parts.frame import inside_app
    from pages.parts.session import why_no_engine
    from pages.parts.sidebar import sidebar

    st.set_page_config(page_title="SinkScope", page_icon=":material/water_drop:", layout="wide")
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
        st.title(page.title)
        st.error(problem)
        return
    sidebar()
    with inside_app():
        page.run()


if __name__ == "__main__":
    main()
