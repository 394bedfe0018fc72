"""Plots in the browser: drawn as they come near, and a word where they cannot be. First light clicks on them."""

import re
import time

import pytest
from playwright.sync_api import Page, expect

from analysis.figures.style import KIND_COLORS, ON_DARK
from analysis.specs import QUESTION
from tests.browser.helpers import NAVIGATING, OVERFLOWS, all_drawn, tools

pytestmark = pytest.mark.slow
# The size of its smallest letters.
SMALLEST = """slide => {
  const walker = document.createTreeWalker(slide, NodeFilter.SHOW_TEXT), sizes = [];
  while (walker.nextNode()) {
    const { nodeValue, parentElement } = walker.currentNode;
    const isSeen = nodeValue.trim() && parentElement.checkVisibility();
    if (isSeen) sizes.push(parseFloat(getComputedStyle(parentElement).fontSize));
  }
  return Math.min(...sizes);
}"""
# Where the rows with intervals of every plot have their names: in its left margin, or above them.
NAMES = """() => [...document.querySelectorAll(".js-plotly-plot")].filter(({ layout }) => layout.meta?.wide)
  .map(({ _fullLayout: { margin, height }, layout: { meta: { wide } } }) =>
    margin.l === wide.layout.margin.l && height === wide.layout.height ? "left" : "above")"""
CUT = """slide => [...slide.querySelectorAll(".row .told")]
  .filter(told => told.getBoundingClientRect().right > told.parentElement.getBoundingClientRect().right + 1).length"""
LOST = 5.0  # seconds in which a page that the browser has lost is loaded anew
BEHIND = ("Where the sinks live", "Do they matter?")


def open_plots(page: Page, address: str) -> None:
    """Open the plots behind findings of the first page."""
    page.goto(address)
    for title in BEHIND:
        fold = page.get_by_test_id("stExpander").locator("summary").filter(has_text=title)
        fold.evaluate("summary => summary.click()")  # without scrolling there
        all_drawn(page)
    expect(page.locator(".sinkscope-plot").first).to_be_attached()
    all_drawn(page)


def test_a_plot_far_below_is_drawn_as_it_comes_near_and_when_printed_and_its_tools_stay_on_this_machine(page, address):
    page.set_viewport_size({"width": 1280, "height": 600})
    open_plots(page, address)
    places = page.locator(".sinkscope-plot")
    expect(places.nth(2)).to_be_attached()
    first, last = places.first, places.last
    drawn = re.compile("js-plotly-plot")
    expect(last).not_to_have_class(drawn)
    height = last.evaluate("plot => plot.offsetHeight")
    assert height > 100, "its place is kept"
    first.scroll_into_view_if_needed()
    expect(first).to_have_class(drawn)
    expect(last).not_to_have_class(drawn)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(last).to_have_class(drawn)
    assert last.evaluate("plot => plot.offsetHeight") == height

    assert tools(first) == [*NAVIGATING, "Save this plot", "Fullscreen"]
    page.mouse.move(0, 0)
    first.locator(".modebar-btn").first.focus()
    expect(first.locator(".modebar")).to_have_css("opacity", "1")
    page.keyboard.press("ArrowRight")
    expect(first.locator(".modebar-btn").nth(1)).to_be_focused()
    page.keyboard.press("End")
    expect(first.get_by_role("button", name="Fullscreen")).to_be_focused()

    page.wait_for_function(f"() => ({NAMES})().includes('left')")
    page.set_viewport_size({"width": 390, "height": 600})
    page.wait_for_function(f"() => ({NAMES})().every(place => place === 'above')")


BENEATH = """notes => notes.closest(".deck").querySelector(".controls").getBoundingClientRect().top
  - notes.getBoundingClientRect().bottom"""

ON_TOP = """notes => {
  const { left, right, top, bottom } = notes.getBoundingClientRect();
  const over = (x, y) => notes.contains(notes.getRootNode().elementFromPoint(x, y));
  for (let y = top + 5; y < bottom - 5; y += 5) for (const x of [left + 30, right - 60]) if (!over(x, y)) return false;
  return true;
}"""


def test_slides_fit_the_screen_are_read_from_afar_and_are_led_through_by_keys_buttons_and_address(page, address):
    page.set_viewport_size({"width": 1280, "height": 720})
    page.goto(f"{address}/?study=example&present=true")
    deck, shown = page.locator(".deck"), page.locator(".slide.shown")
    where = deck.get_by_role("status")
    expect(where).to_have_text(re.compile(r"^1 / [78]$"))
    last = int(where.inner_text().split("/")[1])
    page.evaluate("window.isSame = true")
    drawn = time.monotonic()
    for number in range(1, last + 1):
        expect(where).to_have_text(re.compile(f"^{number} /"))
        assert shown.evaluate(OVERFLOWS) == 0, f"slide {number} scrolls"
        assert shown.evaluate(SMALLEST) >= 20, f"slide {number} has small letters"
        page.keyboard.press("ArrowRight")
    page.wait_for_url(re.compile(f"slide={last}"))  # the address follows one slide after the other
    deck.get_by_role("button", name="Previous slide").click()
    page.wait_for_url(re.compile(f"slide={last - 1}"))
    page.keyboard.press("n")
    expect(shown.locator(".speaker")).to_be_visible()
    assert shown.locator(".speaker").evaluate(BENEATH) < 1, "the slide shows below its notes"
    page.set_viewport_size({"width": 390, "height": 844})
    for number in range(last - 1, 0, -1):
        expect(where).to_have_text(re.compile(f"^{number} /"))
        assert shown.evaluate(CUT) == 0, f"a number of slide {number} is cut on a phone"
        assert shown.locator(".speaker").evaluate(ON_TOP), f"slide {number} shows through its notes"
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(re.compile(f"slide={last - 1}"))
    page.wait_for_timeout(max(0.0, 1000 * (drawn + LOST - time.monotonic())))
    assert page.evaluate("window.isSame") and shown.is_visible(), "slides are no page that the browser has lost"
    page.reload()
    expect(where).to_have_text(re.compile(f"^{last - 1} /"))
    deck.get_by_role("button", name="Close the slides").click()
    expect(page.get_by_role("heading", name=QUESTION)).to_be_visible()
    assert "present" not in page.url and "slide" not in page.url


def test_a_plot_or_table_that_is_touched_has_no_tool_bar_and_one_that_cannot_be_drawn_says_so(chromium, address):
    context = chromium.new_context(
        has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844}, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(f"{address}/?ask=true")
    expect(page.get_by_test_id("stDataFrame")).to_be_visible()
    expect(page.get_by_test_id("stElementToolbar")).to_be_hidden()
    page.goto(f"{address}/evidence")
    all_drawn(page)
    place = page.locator(".sinkscope-plot").first
    place.scroll_into_view_if_needed()
    expect(place.locator(".main-svg").first).to_be_visible()
    expect(place.locator(".modebar-btn")).to_have_count(0)
    page.route("**/scripts/plotly*", lambda route: route.abort())
    page.reload()
    all_drawn(page)
    place.scroll_into_view_if_needed()
    expect(place).to_have_text(re.compile("could not be drawn"))
    context.close()


def test_a_plot_follows_the_theme_of_the_page(page, address):
    words = "() => [...document.querySelectorAll('.js-plotly-plot')].flatMap(({ data }) => data)"
    words += ".find(({ name }) => name === 'word')?.marker.color"
    for scheme, color in (("dark", ON_DARK[KIND_COLORS[-1]]), ("light", KIND_COLORS[-1])):
        page.emulate_media(color_scheme=scheme)
        page.goto(f"{address}/evidence")
        all_drawn(page)
        page.wait_for_function(f"({words})() === {color!r}")
