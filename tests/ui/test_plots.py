"""What the browser is given to draw plots: the library, and each figure."""

import gzip
from importlib.metadata import version

from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from pages.parts import plotly_script
from tests.ui.helpers import charts, unfold


def test_the_library_is_the_installed_one_and_browsers_may_keep_it():
    server = TestClient(Starlette(routes=plotly_script.routes()))
    address = plotly_script.address()
    assert version("plotly") in address
    answers = [server.get(address, headers={"accept-encoding": kind}) for kind in ("gzip", "identity")]
    assert answers[0].content == answers[1].content == gzip.decompress(plotly_script.compressed())
    assert b"plotly.js" in answers[0].content[:100]
    assert [answer.headers.get("content-encoding") for answer in answers] == ["gzip", None]
    assert all("immutable" in answer.headers["cache-control"] for answer in answers)
    assert all(answer.headers["content-type"].startswith("text/javascript") for answer in answers)


def test_a_plot_takes_its_colours_from_the_browser_and_says_what_it_shows():
    def page():
        import numpy as np
        import plotly.graph_objects as go

        from pages.parts.charts import plot

        figure = go.Figure(go.Heatmap(z=np.eye(2, dtype=np.float32)), go.Layout(title="</script>", height=300))
        plot(figure, "still", "A still one.")
        plot(figure, "clicked", "One that is clicked: “ü”.", {"displayModeBar": False}, lambda point: None)

    test = AppTest.from_function(page).run()
    assert not test.exception
    still, clicked = charts(test)
    assert (still["alt"], clicked["alt"]) == ("A still one.", "One that is clicked: “ü”.")
    assert (still["clicks"], clicked["clicks"]) == (False, True)
    assert (still["config"], clicked["config"]) == ({}, {"displayModeBar": False})
    assert still["figure"] == clicked["figure"] and "template" not in still["figure"]["layout"]
    assert still["figure"]["layout"]["title"]["text"] == "</script>"
    assert still["figure"]["data"][0]["z"]["shape"] == "2, 2"


def test_an_export_holds_what_was_drawn_alone_since_its_button(monkeypatch):
    written, made = [], {}
    monkeypatch.setattr("pages.parts.charts.page_html", lambda *parts, subject: written.append(parts) or "")
    monkeypatch.setattr("streamlit.download_button", lambda label, data, *rest, **options: made.update(file=data))

    def page():
        import streamlit as st

        from analysis.figures.export import Exhibit
        from pages.parts.charts import export_button, put_into_export, start_exhibits

        start_exhibits()
        put_into_export(Exhibit("Step 0", "As it opened."), "explorer")
        export_button("Page", {}, "a test")
        st.query_params["step"] = "5"
        put_into_export(Exhibit("Step 5", "As it is."), "explorer")

    assert not AppTest.from_function(page).run().exception
    made["file"]()
    ((_, settings, (exhibit,), _),) = written
    assert exhibit.title == "Step 5" and settings["selection"] == {"step": "5"}


def test_a_figure_in_a_fold_is_made_once_that_opens_or_the_page_is_exported(monkeypatch):
    written = []
    monkeypatch.setattr("pages.parts.charts.page_html", lambda *parts, subject: written.append(parts[2]) or "")

    def page():
        import pandas as pd
        import plotly.graph_objects as go
        import streamlit as st

        from analysis.figures.export import Exhibit
        from pages.parts.charts import chart_in_fold, export_button, start_exhibits

        def made() -> Exhibit:
            st.session_state["made"] = st.session_state.get("made", 0) + 1
            return Exhibit("A bar", "It stands.", go.Figure(go.Bar(y=[1])), pd.DataFrame({"y": range(101)}))

        start_exhibits()
        with chart_in_fold("More", "the_fold", made, "the_bar"):
            st.caption("beneath it")
        export_button("Page", {}, "a test")

    test = AppTest.from_function(page).run()
    assert not test.exception and charts(test) == [] and test.caption[0].value == "beneath it"
    assert "made" not in test.session_state
    with monkeypatch.context() as patch:
        patch.setattr("streamlit.download_button", lambda label, data, *rest, **options: data())
        test.run()
    (exhibit,) = written[-1]
    assert (exhibit.title, len(exhibit.table)) == ("A bar", 0), "a large table stays out of an exported page"
    assert test.session_state["made"] == 1
    (drawn,) = charts(unfold(test, "the_fold"))
    assert drawn["alt"] == "A bar. It stands." and test.session_state["made"] == 2
