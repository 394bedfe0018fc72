"""Plots in the browser: drawn as they come near, clicked, and a word where they cannot be. More clicks on them are in
first light."""

import re
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from analysis.models.checkpoint import find
from analysis.specs import QUESTION
from tests.browser.helpers import NAVIGATING, OVERFLOWS, all_drawn, click_cell, few_words, plot, tools
from tests.helpers import save_pruned
from training.measure import pruned_copy

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
BEHIND = ("Where the sinks live", "Do they move?", "Do they matter?")


def open_plots(page: Page, address: str, titles: tuple[str, ...] = BEHIND[:1]) -> None:
    """Open the plots behind findings of the first page."""
    page.goto(address)
    for title in titles:
        fold = page.get_by_test_id("stExpander").locator("summary").filter(has_text=title)
        fold.evaluate("summary => summary.click()")  # without scrolling there
        all_drawn(page)
    expect(page.locator(".sinkscope-plot").first).to_be_attached()
    all_drawn(page)


def test_a_plot_far_below_is_drawn_as_it_comes_near_and_when_printed_and_its_tools_stay_on_this_machine(page, address):
    page.set_viewport_size({"width": 1280, "height": 600})
    open_plots(page, address, BEHIND)
    places = page.locator(".sinkscope-plot")
    expect(places.nth(4)).to_be_attached()
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


def test_a_plot_that_is_touched_has_no_tool_bar(chromium, address):
    context = chromium.new_context(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844})
    page = context.new_page()
    open_plots(page, address)
    place = page.locator(".sinkscope-plot").first
    place.scroll_into_view_if_needed()
    expect(place.locator(".main-svg").first).to_be_visible()
    expect(place.locator(".modebar-btn")).to_have_count(0)
    context.close()


def test_slides_fit_the_screen_are_read_from_afar_and_are_led_through_by_keys_buttons_and_address(page, address):
    page.set_viewport_size({"width": 1280, "height": 720})
    page.goto(f"{address}/?study=example&present=true")
    deck, shown = page.locator(".deck"), page.locator(".slide.shown")
    where = deck.get_by_role("status")
    expect(where).to_have_text(re.compile(r"^1 / [78]$"))
    last = int(where.inner_text().split("/")[1])
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
    page.reload()
    expect(where).to_have_text(re.compile(f"^{last - 1} /"))
    deck.get_by_role("button", name="Close the slides").click()
    expect(page.get_by_role("heading", name=QUESTION)).to_be_visible()
    assert "present" not in page.url and "slide" not in page.url


def test_a_plot_that_cannot_be_drawn_says_so(page, address):
    page.route("**/scripts/plotly*", lambda route: route.abort())
    open_plots(page, address)
    place = page.locator(".sinkscope-plot").first
    place.scroll_into_view_if_needed()
    expect(place).to_have_text(re.compile("could not be drawn"))


def test_what_draws_plots_is_loaded_before_statistics_are_stored_and_controls_reach_the_address_once_they_are(
    page, address
):
    # at that sparsity the study that ships has pruned nothing
    page.goto(f"{address}/tuning?prune_sparsity=0.4&calibrate_samples=2&calibrate_seq_len=32&calibrate_heldout=1")
    expect(page.get_by_role("button", name="Preview masks")).to_be_visible()
    page.wait_for_function("window.Plotly")
    expect(page.locator(".sinkscope-plot")).to_have_count(0)
    all_drawn(page)
    page.get_by_role("button", name="Preview masks").click()
    page.locator(".st-key-fold_prune_discount summary").click()
    slider = page.locator(".st-key-prune_sink_std").get_by_role("slider")
    expect(page.get_by_text("Weights chosen differently by matrix").first).to_be_visible()
    expect(page.get_by_text("being measured")).to_have_count(0)
    expect(page.get_by_text("Idle. Nothing is running.")).to_be_visible()  # what stood above the plots is gone
    all_drawn(page)
    slider.focus()
    for _ in range(3):
        slider.press("ArrowRight")
    views = page.locator(".st-key-prune_view")
    views.get_by_role("radio", name="Discount").or_(views.get_by_role("button", name="Discount")).first.click()
    page.wait_for_url(re.compile("prune_view=Discount"))
    page.wait_for_url(re.compile(r"prune_sink_std=2\.3"))
    assert slider.get_attribute("aria-valuetext") == "2.3"


def test_a_click_on_a_cell_opens_its_masks_the_address_brings_them_back_and_another_folder_is_typed(
    page, address, bundled, tmp_path
):
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    pruned = pruned_copy(bundled, "magnitude", 0.5)
    first, second = (save_pruned(pruned, tmp_path / name) for name in ("by-magnitude", "again"))
    page.goto(f"{address}/masks?{urlencode({'first': first, 'second': second})}")
    expect(page.get_by_text("Mask disagreement by layer and head")).to_be_visible()
    page.get_by_role("radio", name="Projections").or_(page.get_by_role("button", name="Projections")).first.click()
    expect(page.get_by_text("Mask disagreement by layer and projection")).to_be_visible()
    all_drawn(page)
    click_cell(page, "mask_projections", 4, 6, (find("bundled").geometry.layers, 7))
    expect(page.get_by_text("The masks of layer 4, down_proj")).to_be_visible()
    plot(page, "mask_picture")
    few_words(page)
    page.wait_for_url(re.compile("mask_layer=4"))
    page.reload()
    expect(page.get_by_text("The masks of layer 4, down_proj")).to_be_visible()
    folder = save_pruned(pruned, tmp_path / "typed", mask_file=False)
    all_drawn(page)
    box = page.get_by_role("combobox", name="First")
    box.fill(str(folder))
    box.press("Enter")
    expect(page.get_by_text("read from the zeros of the weights")).to_be_visible()
    page.wait_for_url(re.compile("first=.*typed"))
    assert errors == []
