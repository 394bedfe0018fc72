"""The report of a study in a real browser: it opens from the disk, tells the story and asks for nothing."""

import itertools
import json
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from analysis.exhibits.story import story_of
from analysis.exhibits.study_report import report_html
from analysis.study.findings import EXAMPLE, read
from tests.browser.helpers import OVERFLOWS, moving

pytestmark = pytest.mark.slow
MOST_BYTES = 2_800_000
# Scrolls until the middle of the window has come to a part of a finding, from 0 to 1.
READ = """(finding, part) => {
  const { top, height } = finding.getBoundingClientRect();
  scrollTo(0, scrollY + top + part * height - innerHeight / 2);
}"""
# Scrolls until the top of a finding is at a part of the window, from its top 0 to its foot 1.
UP_TO = """(finding, part) => scrollBy(0, finding.getBoundingClientRect().top - part * innerHeight)"""
# The size in pixels of the smallest text of a slide, and how many lines its title has.
SMALLEST = """slide => Math.min(...[...slide.querySelectorAll(":scope > :not(.speaker) *")]
  .filter((one) => one.checkVisibility() && [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
  .map((one) => parseFloat(getComputedStyle(one).fontSize)))"""
LINES = """slide => {
  const title = slide.querySelector("h1, h2");
  return Math.round(title.getBoundingClientRect().height / parseFloat(getComputedStyle(title).lineHeight));
}"""
# How many rows of a chart the zero line, the first mark of each, does not join to the row beneath.
GAPS = """panel => {
  const lines = [...panel.querySelectorAll(".zero")].map((line) => line.getBoundingClientRect());
  return lines.slice(1).filter((line, at) => line.top > lines[at].bottom + 0.5).length;
}"""
LEVELS = """() => [...document.querySelectorAll("main h1, main h2, main h3")].map((head) => Number(head.tagName[1]))"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report_html(read(EXAMPLE)), encoding="utf-8")
    return path


def test_the_report_of_the_example_opens_from_the_disk_without_a_single_request(page, report):
    errors, asked = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url))
    page.emulate_media(color_scheme="dark")
    page.goto(report.as_uri())
    story = story_of(read(EXAMPLE))
    main = page.get_by_role("main")
    levels = page.evaluate(LEVELS)
    assert levels[0] == 1 and all(second <= first + 1 for first, second in itertools.pairwise(levels))
    appendix = page.locator("#appendix")  # its tables, which axe-core leaves out, would cost most of the time
    appendix.evaluate("one => { one.kept = [...one.childNodes]; one.replaceChildren(); }")
    for answer in story.answers:
        expect(main.locator(".answers")).to_contain_text(answer.sentence)
    for finding in story.findings:
        expect(main.get_by_role("heading", name=finding.title, exact=True)).to_be_visible()
    expect(page.get_by_role("group", name="Player.")).to_be_visible()
    violations = Axe().run(page, {"exclude": [["#appendix"]]}, {"resultTypes": ["violations"]}).response["violations"]
    assert [one["id"] for one in violations if one["impact"] in ("serious", "critical")] == []
    appendix.evaluate("one => one.replaceChildren(...one.kept)")
    expect(main.locator("table").first).to_be_hidden()
    page.get_by_role("link", name="Appendix").click()
    with page.expect_download() as numbers:
        main.get_by_role("link", name="All numbers as JSON").click()
    assert json.loads(numbers.value.path().read_text(encoding="utf-8"))["format"] == read(EXAMPLE).format
    page.set_viewport_size({"width": 390, "height": 800})
    expect(page.locator("html")).to_have_js_property("scrollWidth", 390)
    for width in (390, 820, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.locator("#hidden .panel").first.evaluate(GAPS) == 0, width
    page.set_viewport_size({"width": 390, "height": 800})
    assert (
        main.locator(".whole").evaluate_all("all => all.filter((one) => one.getClientRects().length > 1).length") == 0
    )
    cut = main.locator(".word").evaluate_all("all => all.filter((one) => one.scrollWidth > one.clientWidth).length")
    assert cut == 0, "tokens of the picture of a sink are whole"
    order = ("h1", ".size", ".skyline", ".beneath", ".answers b", "nav a")
    places = [main.locator(one).last.bounding_box() for one in order]
    assert [place["y"] for place in places] == sorted(place["y"] for place in places)
    assert places[-1]["y"] + places[-1]["height"] < 800, "the question and the study's size to what next"
    slider = page.locator("#explore [type=range][data-set=threshold]").bounding_box()
    assert slider["x"] + slider["width"] <= 390 - 16, "within the page's margin"
    assert errors == [] and asked == [report.as_uri()]
    assert report.stat().st_size < MOST_BYTES


def test_scrolling_steps_the_player_and_lights_up_what_is_read_but_not_under_reduced_motion(page, report):
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_viewport_size({"width": 1280, "height": 800})
    page.emulate_media(reduced_motion="reduce")
    page.goto(report.as_uri())
    status = page.locator(".sinkscope-player").get_by_role("status")
    expect(status).to_contain_text(re.compile("^Step [1-9]"))
    opened = status.inner_text()
    page.locator("#sink h2").scroll_into_view_if_needed()
    page.keyboard.press("PageDown")
    expect(page.locator(".finding .now")).to_have_count(0)
    assert status.inner_text() == opened
    moving(page).goto(f"{report.as_uri()}?moving")
    expect(status).to_have_text(opened)
    expect(page.get_by_role("group", name="Explorer")).to_be_visible()  # drawn last
    for part, told in ((0.84, "Step 1 (0–47)"), (0.65, "Step 24 (0–47)"), (0.45, "Finished text")):
        page.locator("#sink").evaluate(UP_TO, part)
        expect(status).to_have_text(told)
    page.locator("#sink").evaluate(UP_TO, 0.65)
    expect(page.get_by_role("group", name="Player.")).to_be_in_viewport(ratio=0.5)
    page.locator("#sink").evaluate(READ, 0.5)
    expect(page.locator("#sink")).to_have_attribute("data-read", re.compile(r"^\d$"))
    page.evaluate("scrollTo(0, 0)")
    expect(status).to_have_text(opened)  # beside the first screen
    page.locator("#hidden").evaluate(READ, 0.99)
    last = page.locator("#hidden .beat").count() - 1
    expect(page.locator("#hidden")).to_have_attribute("data-read", str(last))
    page.locator("#hidden").evaluate(READ, 0.01)
    expect(page.locator("#hidden .line.now").first).to_be_visible()
    assert errors == []


BESIDE = """slide => [...slide.querySelectorAll("td, .axis span")].filter(each => each.checkVisibility()
  && (each.scrollWidth > each.clientWidth + 1 && each.clientWidth || each.getBoundingClientRect().right > innerWidth)
).map(each => each.textContent)"""
"""Cells and words beneath an axis that reach beyond their cell or the slide."""


def printed(page: Page) -> list[bytes]:
    """Return the size of each page that it prints."""
    return re.findall(rb"/MediaBox \[0 0 ([\d. ]+)\]", page.pdf(prefer_css_page_size=True))


def swipe(page: Page, start: int, end: int) -> None:
    """Move a finger sideways. The browser takes the gesture for itself where the page does not claim it."""
    finger = page.context.new_cdp_session(page)
    finger.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    for kind, x in (("touchStart", start), ("touchMove", (start + end) // 2), ("touchMove", end)):
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": 300}]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    finger.detach()


def test_its_slides_follow_keys_swipes_buttons_and_the_address_and_print_a_page_each_it_on_a4(page, report):
    page.goto(report.as_uri())
    page.get_by_role("link", name="Present").click()
    expect(page.get_by_role("region", name="Slides").get_by_role("status")).to_have_text(re.compile("^1 / [78]$"))
    main, deck = page.locator("main"), page.locator(".deck")  # a role is looked for in each cell of the tables
    where = deck.get_by_role("status")
    slides = page.locator(".slide")
    page.set_viewport_size({"width": 1280, "height": 720})
    for number in range(1, slides.count() + 1):
        page.evaluate("number => location.replace(`#slide-${number}`)", number)  # leaves one entry for Back to leave
        expect(where).to_have_text(re.compile(f"^{number} /"))
        assert slides.nth(number - 1).evaluate(OVERFLOWS) == 0, number
        assert slides.nth(number - 1).evaluate(SMALLEST) >= 20, number
        assert slides.nth(number - 1).evaluate(LINES) <= 2, number
    page.set_viewport_size({"width": 390, "height": 844})
    for number in range(1, slides.count() + 1):
        page.evaluate("number => location.replace(`#slide-${number}`)", number)
        expect(where).to_have_text(re.compile(f"^{number} /"))
        assert slides.nth(number - 1).evaluate(BESIDE) == [], number
    page.set_viewport_size({"width": 1280, "height": 720})
    page.wait_for_timeout(600)  # the explorer below puts its state into the address after a rest
    expect(where).to_have_text(re.compile(f"^{slides.count()} /"))
    assert page.url.endswith(f"#slide-{slides.count()}"), "the explorer leaves a slide's address"
    page.evaluate("location.replace('#slide-1')")
    expect(where).to_have_text(re.compile("^1 /"))
    expect(main).to_be_hidden()
    page.keyboard.press("PageDown")
    page.wait_for_url(re.compile("#slide-2$"))
    deck.get_by_role("button", name="Next slide").click()
    expect(where).to_have_text(re.compile("^3 /"))
    swipe(page, 300, 600)
    page.wait_for_url(re.compile("#slide-2$"))
    swipe(page, 600, 300)
    page.wait_for_url(re.compile("#slide-3$"))
    page.go_back()
    expect(main).to_be_visible()
    page.goto(f"{report.as_uri()}#slide-4")
    expect(where).to_have_text(re.compile("^4 /"))
    page.keyboard.press("Escape")
    expect(main).to_be_visible()
    assert "slide" not in page.url

    pages = printed(page)
    assert 4 <= len(pages) <= 10 and set(pages) <= {b"594.95996 841.91998", b"595 842", b"595.2756 841.8898"}
    page.goto(f"{report.as_uri()}#slide-1")
    expect(where).to_have_text(re.compile("^1 /"))
    assert printed(page) == [b"960 540"] * slides.count()
