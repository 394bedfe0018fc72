"""An exported page in a real browser: it opens from the disk, draws, fetches nothing, runs only its own scripts."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from playwright.sync_api import expect

from analysis.figures import sinks as figures
from analysis.figures.export import Card, Exhibit, page_html
from analysis.figures.style import KIND_COLORS, ON_DARK, token_axis
from tests.browser.helpers import HOSTILE, NAVIGATING, tools

pytestmark = pytest.mark.slow
# Names that stand upright are less than 12 pixels wide.
APART = """() => {
  const isSeen = (name) => getComputedStyle(name).visibility === "visible";
  const names = [...document.querySelectorAll(".xtick text")].filter(isSeen);
  const left = names.map((name) => name.getBoundingClientRect().x).sort((first, second) => first - second);
  return left.length > 1 && left.slice(1).every((x, place) => x - left[place] >= 12);
}"""


def test_an_exported_page_draws_without_a_network(page, tmp_path):
    errors, asked = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    grid = figures.head_grid(np.random.default_rng(0).random((6, 6)), "strength")
    numbers = pd.DataFrame({f"a long name of column {index}": [index] for index in range(12)})
    exhibits = [Exhibit("Grid", "A grid.", grid, numbers), Exhibit("Bars", "Bars.", go.Figure(go.Bar(y=[1, 2])))]
    html = page_html("Title", {"prompt": "</script><b>x"}, exhibits, [Card("Sinks", "2.50", "Random weights: 1.00")])
    path = tmp_path / "export.html"
    path.write_text(html, encoding="utf-8")
    page.goto(path.as_uri())
    expect(page.locator(".js-plotly-plot")).to_have_count(2)
    expect(page.locator(".js-plotly-plot .heatmaplayer text, .js-plotly-plot .hm text").first).to_be_visible()
    expect(page.locator(".js-plotly-plot .barlayer path")).to_have_count(2)
    for place in page.locator(".js-plotly-plot").all():
        assert tools(place) == [*NAVIGATING, "Save as PNG", "Save as SVG"]
    expect(page.get_by_text("2.50")).to_be_visible()
    expect(page.locator("pre")).to_contain_text("</script><b>x")
    expect(page.locator("table")).to_be_hidden()
    page.get_by_text("Table", exact=True).click()
    page.set_viewport_size({"width": 390, "height": 800})
    expect(page.locator("table")).to_be_visible()
    expect(page.locator("html")).to_have_js_property("scrollWidth", 390)  # a wide table scrolls in itself
    assert errors == [] and asked == [path.as_uri()]
    assert path.stat().st_size < 2_000_000


def test_many_tokens_beneath_a_plot_are_named_on_a_phone_without_touching(page, tmp_path):
    labels = [f"token{index}" for index in range(48)]
    bars = go.Figure(go.Bar(y=np.random.default_rng(0).random(48)))
    bars.update_xaxes(**token_axis(labels))
    path = tmp_path / "export.html"
    path.write_text(page_html("Title", {}, [Exhibit("Bars", "Bars.", bars)]), encoding="utf-8")
    page.goto(path.as_uri())
    expect(page.locator(".xtick text:visible")).to_have_count(48)
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.locator(".xtick text:visible")).to_have_count(16)
    page.wait_for_function(APART)  # while the plot is drawn anew for the width its names stand nowhere


def test_text_from_outside_runs_no_script_in_an_exported_page_and_no_script_of_others_runs(page, tmp_path):
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    figure = go.Figure(go.Scattergl(x=[1, 2], y=[1, 2], name=HOSTILE, text=[HOSTILE] * 2, mode="markers"))
    figure.update_layout(title=HOSTILE, xaxis_title=HOSTILE, showlegend=True)
    exhibit = Exhibit(HOSTILE, HOSTILE, figure, pd.DataFrame({HOSTILE: [HOSTILE]}), finding=HOSTILE, notes=(HOSTILE,))
    html = page_html(HOSTILE, {"prompt": HOSTILE}, [exhibit], [Card(HOSTILE, HOSTILE, HOSTILE)], HOSTILE)
    path = tmp_path / "export.html"
    path.write_text(html, encoding="utf-8")
    page.goto(path.as_uri())
    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()
    expect(page.get_by_text(HOSTILE).first).to_be_visible()
    page.locator(".js-plotly-plot .nsewdrag").first.hover()
    assert page.evaluate("window.ran") is None and errors == []


def test_a_script_that_got_into_an_exported_page_does_not_run(chromium, tmp_path):
    html = page_html("Title", {}, [Exhibit("Bars", "Bars.", go.Figure(go.Bar(y=[1, 2])))])
    path = tmp_path / "export.html"
    path.write_text(html.replace("</body>", f"<script>window.ran = true</script>{HOSTILE}</body>"), encoding="utf-8")
    context = chromium.new_context()
    page = context.new_page()
    page.goto(path.as_uri())
    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()
    assert page.locator("img").count() == 1, "it did get in"
    assert page.evaluate("window.ran") is None
    context.close()


def test_a_long_text_in_a_table_is_not_squeezed_into_a_column_of_words_on_a_phone(page, tmp_path):
    rows = pd.DataFrame({"model": ["bundled"], "blocked": ["random positions"], "share": [0.1], "text": ["word " * 60]})
    path = tmp_path / "export.html"
    path.write_text(page_html("Title", {}, [Exhibit("Texts", "Texts.", table=rows)]), encoding="utf-8")
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(path.as_uri())
    expect(page.locator("html")).to_have_js_property("scrollWidth", 390)
    assert page.locator("tbody tr").bounding_box()["height"] < 150


def test_kinds_have_the_colours_of_the_readers_theme_and_follow_it(page, tmp_path):
    light, dark = KIND_COLORS[-1], ON_DARK[KIND_COLORS[-1]]
    bars = go.Figure(go.Bar(y=[1], text=["1"], marker_color=light, textfont_color="#000", textposition="inside"))
    bars.add_annotation(text=f"<span style='color:{light}'>■</span> word", x=0, y=0)
    path = tmp_path / "export.html"
    path.write_text(page_html("Title", {}, [Exhibit("Bars", "Bars.", bars)]), encoding="utf-8")
    drawn = "plot => [plot.data[0].marker.color, plot.layout.annotations[0].text.slice(19, 26)]"
    page.emulate_media(color_scheme="dark")
    page.goto(path.as_uri())
    for scheme, color, ink in (("dark", dark, "rgb(255, 255, 255)"), ("light", light, "rgb(0, 0, 0)")):
        page.emulate_media(color_scheme=scheme)
        plot, number = page.locator(".js-plotly-plot"), page.locator(".bartext")
        expect(number).to_have_css("fill", ink)
        assert plot.evaluate(drawn) == [color, color], scheme
