"""Pruning in a real browser: launch three methods, watch, cancel one, refresh, see the rest finish."""

import re

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.slow


def turn_down(page: Page, samples: int = 64, length: int = 64) -> None:
    page.get_by_text("Calibration: text, length, noise").click()
    for label, value in (("Samples", str(samples)), ("Sequence length", str(length))):
        field = page.get_by_role("spinbutton", name=re.compile(f"^{label}"))
        field.fill(value)
        field.press("Enter")
        page.wait_for_timeout(500)


def test_launch_three_methods_cancel_one_refresh_and_see_the_rest_finish(page, address):
    page.goto(f"{address}/pruning")
    expect(page.get_by_role("heading", name="Pruning")).to_be_visible()
    turn_down(page)
    page.get_by_role("button", name="Prune with 3 methods").click()
    expect(page.get_by_role("heading", name="Running")).to_be_visible()
    main = page.get_by_test_id("stMain")
    expect(main.get_by_text(re.compile(r"step \d+ of \d+")).first).to_be_visible(timeout=120_000)
    main.get_by_role("button", name="Cancel").last.click()
    expect(main.get_by_text(re.compile("cancelled,"))).to_have_count(1)
    page.reload()
    expect(page.get_by_role("heading", name="Finished")).to_be_visible(timeout=120_000)
    expect(page.get_by_role("heading", name="Running")).to_have_count(0, timeout=180_000)
    expect(main.get_by_text(re.compile("cancelled,"))).to_have_count(1)
    expect(main.get_by_text("Weights removed")).to_have_count(2)
    expect(main.get_by_text("python -m analysis prune").first).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)
