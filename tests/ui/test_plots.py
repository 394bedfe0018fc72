"""What the browser is given to draw plots: the library, and each figure."""

import gzip
from importlib.metadata import version

from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from pages.parts import plotly_script
from tests.ui.helpers import charts


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
