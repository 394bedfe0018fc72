"""Live accuracy in a real browser: prune, compare, watch, stop, refresh, resume where it was, and see the tests."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, TimeoutError, expect

from tests.browser.test_pruning import turn_down

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
LONG = 240_000  # milliseconds; a busy machine is slow, an idle one needs a tenth


def differences(page: Page) -> str:
    """The table of differences, as it is downloaded. A click on a button that is just being drawn anew is lost."""
    button = page.locator(".st-key-accuracy_whiskers_csv").get_by_role("button")
    for patience in (10_000, 10_000, 20_000, 20_000, 40_000, LONG):
        try:
            with page.expect_download(timeout=patience) as download:
                button.click()
            return Path(download.value.path()).read_text(encoding="utf-8")
        except TimeoutError:
            continue
    raise AssertionError("no file came")


def test_compare_stop_refresh_resume_and_see_the_tests_at_the_end(page, address):
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{address}/pruning")
    page.set_default_timeout(LONG)
    expect(page.get_by_role("button", name="Prune with 3 methods")).to_be_enabled(timeout=LONG)
    turn_down(page, samples=2, length=32)
    page.get_by_role("button", name="Prune with 3 methods").click()
    main = page.get_by_test_id("stMain")
    expect(main.get_by_text("Weights removed")).to_have_count(3, timeout=LONG)
    page.goto(f"{address}/accuracy?accuracy_limit=48&accuracy_whiskers_table=true")
    for name in ("Sink-Wanda k2 α5 λ1 seed 0 · 50 %", "Wanda seed 0 · 50 %", "Wanda noised seed 0 · 50 %"):
        expect(main.get_by_role("button", name=f"Remove {name}")).to_be_visible(timeout=LONG)
    page.get_by_role("button", name="Compare accuracy").click()
    expect(main.get_by_text(re.compile(r"of 1,152 answers · [\d.]+ items/s · .* left"))).to_be_visible(timeout=LONG)
    expect(main.get_by_text("Accuracy so far (interim)")).to_be_visible(timeout=LONG)
    main.get_by_role("button", name="Stop here").click()
    stopped = main.get_by_text(re.compile(r"Stopped after [\d,]+ of 1,152 answers"))
    expect(stopped).to_be_visible(timeout=LONG)
    known = re.search(r"after ([\d,]+) of", stopped.inner_text()).group(1)
    expect(main.get_by_text("interim, no tests yet")).to_have_count(3)
    expect(page.locator(".st-key-accuracy_curves .js-plotly-plot")).to_be_visible()
    expect(page.locator(".st-key-accuracy_differences .js-plotly-plot")).to_be_visible()
    assert "p (Holm)" not in differences(page)

    page.wait_for_url(re.compile("evaluation="))
    page.reload()
    expect(main.get_by_text(f"Stopped after {known} of 1,152 answers")).to_be_visible(timeout=LONG)
    main.get_by_role("button", name="Resume").click()
    finished = main.get_by_text(re.compile(rf"Finished: 1,152 answers in .*, {known} of them known before"))
    expect(finished).to_be_visible(timeout=LONG)
    expect(main.get_by_text("no tests yet")).to_have_count(0)
    expect(main.get_by_text(re.compile("no single task is a difference shown|(better|worse) on "))).to_have_count(3)
    assert "p (Holm)" in differences(page)

    main.locator(".st-key-accuracy_base").get_by_text("control", exact=True).click()
    expect(main.get_by_text("Difference to Wanda noised seed 0 · 50 %", exact=True)).to_be_visible()
    page.wait_for_url(re.compile("accuracy_base="))
    page.reload()
    expect(finished).to_be_visible(timeout=LONG)
    expect(main.get_by_text("Difference to Wanda noised seed 0 · 50 %", exact=True)).to_be_visible()
    expect(main.get_by_text("Items on which two models disagree")).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)
    assert errors == []
