"""The report of a study in a real browser: it opens from the disk, draws everything and asks for nothing."""

import pytest
from playwright.sync_api import expect

from analysis.study import rules
from analysis.study.findings import EXAMPLE, read
from analysis.study.report import report_html
from tests.browser.helpers import NAVIGATING, moving, tools

pytestmark = pytest.mark.slow
USUAL = 12  # pixels of a figure's ticks where it is not on a slide


def test_the_report_of_the_example_opens_from_the_disk_without_a_single_request(page, tmp_path):
    errors, asked = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url))
    found = read(EXAMPLE)
    path = tmp_path / "report.html"
    path.write_text(report_html(found), encoding="utf-8")
    page.emulate_media(color_scheme="dark")
    moving(page).goto(path.as_uri())
    figures = page.locator("script.figure").count()
    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()
    expect(page.locator(".js-plotly-plot")).to_have_count(figures)
    assert figures >= 3
    assert tools(page.locator(".js-plotly-plot").first) == [*NAVIGATING, "Save as PNG", "Save as SVG"]
    asking = "[...document.querySelectorAll('.js-plotly-plot')].filter((plot) => plot._context.plotlyServerURL)"
    assert page.evaluate(f"{asking}.length") == 0
    assert page.locator("[data-title*='Share'], [data-title*='Edit']").count() == 0
    assert found.playback is not None
    expect(page.locator(".sinkscope-player input[type=range]")).to_be_visible()
    for sentence in rules.answer(found):
        expect(page.locator(".lead").get_by_text(sentence, exact=True)).to_be_visible()
    expect(page.get_by_text("Does the discount help?").first).to_be_visible()
    page.get_by_role("button", name="Present").click()
    counter = page.get_by_role("status").filter(has_text=f"1 / {page.locator('.slide').count()}")
    expect(counter).to_be_visible()
    expect(page.get_by_role("button", name="Present")).to_be_hidden()
    page.keyboard.press("PageDown")
    status = page.locator(".sinkscope-player").get_by_role("status")
    expect(status).to_contain_text("Finished text")  # it played by itself
    expect(page.locator(".said li:nth-child(4)").first).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Present")).to_be_visible()
    expect(page.locator(".said li:nth-child(4)").first).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 800})
    expect(page.locator("html")).to_have_js_property("scrollWidth", 390)
    page.emulate_media(media="print", color_scheme="light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    expect(page.locator(".sinkscope-player input[type=range]")).to_be_hidden()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_function("document.querySelector('.main-svg').getBoundingClientRect().width == 680")
    assert errors == [] and asked == [path.as_uri()]
    assert path.stat().st_size < 6 * 2**20


def test_slides_that_an_address_opens_are_written_as_large_as_those_of_the_button(page, tmp_path):
    """The slides begin before the figures are drawn."""
    path = tmp_path / "report.html"
    path.write_text(report_html(read(EXAMPLE)), encoding="utf-8")
    size = "[...document.querySelectorAll('.js-plotly-plot')].map((plot) => plot._fullLayout?.font.size)"
    page.goto(f"{path.as_uri()}#present")
    expect(page.get_by_role("button", name="Present")).to_be_hidden()
    expect(page.locator(".js-plotly-plot")).to_have_count(page.locator("script.figure").count())
    page.wait_for_function(f"Math.min(...{size}) > {USUAL}")
