"""From a pruning with and without the discount to its accuracy in a real browser: prune, cancel one, go on, score,
stop, resume, and see the tests. What must be caught while it runs is held by its worker, as the page takes longer than
the work."""

import re
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Error, Page, expect

from analysis.evaluation.items_file import DOCUMENTS
from cache.store import Store
from tests.browser.conftest import PATIENCE
from tests.browser.helpers import all_drawn, few_words, held, plot, worker_of
from tests.engine.helpers import until

pytestmark = pytest.mark.slow
ANSWERS = 3 * 6 * 12  # of the dense model and two others, in six tasks


def differences(page: Page) -> str:
    """The table of differences, as it is downloaded. A click on a button that is just being drawn anew is lost."""
    button = page.locator(".st-key-accuracy_whiskers_csv").get_by_role("button")
    for patience in (10_000, 10_000, 20_000, 20_000, 40_000, PATIENCE):
        try:
            with page.expect_download(timeout=patience) as download:
                button.click()
            return Path(download.value.path()).read_text(encoding="utf-8")
        except Error:  # none came, or it was cancelled as the button was drawn anew
            continue
    raise AssertionError("no file came")


def began(home: Path) -> bool:
    """Whether the job that runs has told how far it is."""
    with closing(Store(home)) as store:
        running = [job["id"] for job in store.jobs() if job["state"] == "running"]
        return any((store.live(job) or {}).get("progress", {}).get("total") for job in running)


def answers_that_came(home: Path) -> int:
    """How many lines the evaluation at work has written."""
    return sum(path.read_bytes().count(b"\n") for path in home.glob(f"incoming/*/{DOCUMENTS}"))


def test_prune_cancel_one_go_on_compare_stop_refresh_resume_and_see_the_tests(page, address, home):
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    main = page.get_by_test_id("stMain")
    cancelled = main.get_by_text(re.compile("cancelled,"))

    page.goto(f"{address}/pruning?prune_samples=12&prune_seq_len=64&accuracy_limit=12&prune_seeds=1")
    all_drawn(page)
    main.locator(".st-key-fold_prune_score summary").first.click()
    main.locator(".st-key-prune_then_score label").click()  # they are scored by hand below
    expect(main.locator(".st-key-prune_then_score input")).not_to_be_checked()
    page.get_by_role("button", name="Prune with and without the discount").click()
    worker = worker_of(address)
    until(lambda: began(home))
    with held(worker):
        expect(main.get_by_text(re.compile(r"step \d+ of \d+")).first).to_be_visible()
        main.get_by_role("button", name="Cancel").last.click()
        expect(cancelled).to_have_count(1)
        page.reload()
        expect(cancelled).to_have_count(1)
    expect(main.get_by_text("1 pruned model")).to_be_visible()
    expect(main.get_by_text("Reproduce from the command line").first).to_be_visible()
    all_drawn(page)
    few_words(page)
    main.get_by_role("button", name="Start again").click()
    expect(main.get_by_text("2 pruned models")).to_be_visible()
    expect(cancelled).to_have_count(0)
    expect(page.get_by_test_id("stException")).to_have_count(0)

    page.get_by_role("radio", name="Runs here").click()  # the study has more seeds
    page.wait_for_url(re.compile(r"prune_source=Runs(\+|%20)here"))
    all_drawn(page)
    page.get_by_role("button", name="Score both").click()
    until(lambda: answers_that_came(home) > ANSWERS // 2)
    with held(worker):
        expect(main.get_by_text(re.compile(rf"of {ANSWERS} answers · [\d.]+ items/s · .* left"))).to_be_visible()
        expect(main.get_by_text("Accuracy so far (interim)")).to_be_visible()
        main.get_by_role("button", name="Stop here").click()
    stopped = main.get_by_text(re.compile(rf"Stopped after \d+ of {ANSWERS} answers"))
    expect(stopped).to_be_visible()
    known = re.search(r"after (\d+) of", stopped.inner_text()).group(1)
    expect(main.get_by_text("interim, no tests yet")).to_have_count(1)
    page.wait_for_url(re.compile("evaluation="))
    evaluation = re.search("evaluation=([^&]+)", page.url).group(1)
    page.goto(f"{address}/accuracy?evaluation={evaluation}&accuracy_whiskers_table=true")
    page.wait_for_url(re.compile(r"/runs\?.*runs_view=Accuracy"))
    expect(main.get_by_text(f"Stopped after {known} of {ANSWERS} answers")).to_be_visible()
    main.locator(".st-key-fold_accuracy_running summary").click()
    plot(page, "accuracy_curves")
    plot(page, "accuracy_differences")
    assert "p (Holm)" not in differences(page)

    all_drawn(page)
    main.get_by_role("button", name="Resume").click()
    finished = main.get_by_text(re.compile(rf"Finished: {ANSWERS} answers in .*, {known} of them known before"))
    expect(finished).to_be_visible()
    expect(main.get_by_text("no tests yet")).to_have_count(0)
    expect(main.get_by_text("Difference to Wanda noised seed 0 · 50 %", exact=True)).to_be_visible()
    expect(main.get_by_text(re.compile("The sink discount changes accuracy by .* not decided with one"))).to_have_count(
        1
    )
    assert "p (Holm)" in differences(page)

    main.locator(".st-key-accuracy_base").get_by_text("dense", exact=True).click()
    expect(main.get_by_text("Difference to dense", exact=True)).to_be_visible()
    page.wait_for_url(re.compile("accuracy_base="))
    expect(main.get_by_text("Items on which two models disagree")).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)
    few_words(page)

    assert errors == []
