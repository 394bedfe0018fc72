"""From two pruned folders to one mask, in a real browser."""

import re

import pytest
from playwright.sync_api import expect

from analysis.models.checkpoint import find
from tests.browser.helpers import all_drawn, click_cell, few_words, plot
from tests.helpers import save_pruned, server
from training.measure import pruned_copy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(bundled, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    for name, method in (("by-magnitude", "magnitude"), ("again", "magnitude")):
        save_pruned(pruned_copy(bundled, method, 0.5), home / "models" / name)
    with server(home) as url:
        yield url


def test_a_click_on_a_cell_opens_its_masks_and_the_address_brings_them_back(page, address):
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{address}/masks")
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
    assert errors == []


def test_the_path_of_any_folder_can_be_typed(page, address, bundled, tmp_path):
    folder = save_pruned(pruned_copy(bundled, "magnitude", 0.5), tmp_path / "typed", mask_file=False)
    page.goto(f"{address}/masks")
    box = page.get_by_role("combobox", name="First")
    box.fill(str(folder))
    box.press("Enter")
    expect(page.get_by_text("read from the zeros of the weights")).to_be_visible()
    page.wait_for_url(re.compile("first=.*typed"))
