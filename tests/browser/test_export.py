"""An exported page in a real browser: it opens from the disk, draws, fetches nothing, and is small."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from playwright.sync_api import expect

from analysis.figures import sinks as figures
from analysis.figures.export import Card, Exhibit, page_html

pytestmark = pytest.mark.slow


def test_an_exported_page_draws_without_a_network(page, tmp_path):
    errors, asked = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    grid = figures.head_grid(np.random.default_rng(0).random((6, 6)), "strength", (1, 2))
    numbers = pd.DataFrame({f"a long name of column {index}": [index] for index in range(12)})
    exhibits = [Exhibit("Grid", "A grid.", grid, numbers), Exhibit("Bars", "Bars.", go.Figure(go.Bar(y=[1, 2])))]
    html = page_html("Title", {"prompt": "</script><b>x"}, exhibits, [Card("Sinks", "2.50", "Random weights: 1.00")])
    path = tmp_path / "export.html"
    path.write_text(html, encoding="utf-8")
    page.goto(path.as_uri())
    expect(page.locator(".js-plotly-plot")).to_have_count(2)
    expect(page.locator(".js-plotly-plot .scatterlayer path.point")).to_have_count(36)
    expect(page.locator(".js-plotly-plot .barlayer path")).to_have_count(2)
    expect(page.get_by_text("2.50")).to_be_visible()
    expect(page.locator("pre")).to_contain_text("</script><b>x")
    expect(page.locator("table")).to_be_hidden()
    page.get_by_text("Table", exact=True).click()
    page.set_viewport_size({"width": 390, "height": 800})
    expect(page.locator("table")).to_be_visible()
    expect(page.locator("html")).to_have_js_property("scrollWidth", 390)  # a wide table scrolls in itself
    assert errors == [] and asked == [path.as_uri()]
    assert path.stat().st_size < 2_000_000
