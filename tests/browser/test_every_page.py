"""Every page of a server with a token and hostile text in its store, by axe-core's rules too: nothing that is shown
runs or asks another machine for anything, and names, roles, labels and contrast hold in both themes.
"""

import re
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Literal
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from analysis.engine import Engine, JobRecord
from analysis.recording.trajectory_file import save
from analysis.specs import EvaluateSpec
from cache.store import Store
from tests.browser.conftest import visitor
from tests.browser.helpers import HOSTILE, all_drawn, few_words, strangers
from tests.helpers import server

pytestmark = pytest.mark.slow

EXPLORE = "denoise?tab=Heads&heads_view=Chosen+steps"  # at the address of a page that is now part of it
PAGES = ("", "causes", "prune", "runs?runs_view=Accuracy", "sweep")  # without Explore and Evidence, see below
SHOWING = (EXPLORE, "causes")  # pages that show a recording's words at once
HELD = """document.body.innerText.includes("onerror") ||
[...document.querySelectorAll("input, textarea")].some((box) => box.value.includes("onerror"))"""
PICTURE = "![x](http://evil.test/a.png)"
# Streamlit's own list of pages has groups between the list and its items.
NOT_OURS = {"list", "listitem"}
# A plot far below takes the theme once it comes near.
IN_THEME = """([color, any]) => {
  const near = (plot) => plot.getBoundingClientRect().top < innerHeight + 400;
  const drawn = [...document.querySelectorAll(".sinkscope-plot.js-plotly-plot")].filter(near);
  const colors = drawn.map((plot) => getComputedStyle(plot.querySelector(".main-svg")).backgroundColor);
  return colors.every((one) => one === color) && (!any || colors.length > 0);
}"""
# The product's name beside its mark, a link but on the first page, which changes with the theme during a visit.
NAMED_IN = """color => {
  const name = getComputedStyle(document.querySelector("[data-testid=stSidebarLogo]").parentElement, "::after");
  return name.content === '"SinkScope"' && name.color === color;
}"""
NAME_COLOUR = {"light": "rgb(17, 24, 39)", "dark": "rgb(228, 233, 242)"}
# Of each choice that is not taken, how many colours its four borders have.
BORDERS = """() => [...document.querySelectorAll(
  "[data-testid=stMain] [data-variant=segmented_control]:not([data-selected])")].map((choice) => {
  const style = getComputedStyle(choice);
  return new Set(["Top", "Right", "Bottom", "Left"].map((side) => style[`border${side}Color`])).size;
})"""
PLOTTED = ("evidence",)
AXE = Axe().axe_script
# Rules that a theme can break; names, roles and labels are the same in both.
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}


TOKEN = "a-token-for-this-test"


@pytest.fixture(scope="module")
def context(chromium, address):
    """One visitor, who has the token and comes to every page."""
    with visitor(chromium) as made:
        page = made.new_page()
        page.goto(f"{address}/causes?token={TOKEN}")
        expect(page.get_by_role("link", name="Explore")).to_be_visible()
        expect(page.get_by_text("About this model").first).to_be_visible()
        assert re.fullmatch(rf"{address}/~[\w-]{{16}}/causes.*", page.url)
        page.close()
        yield made


FADED = """document.getAnimations().every((each) => each.playState !== 'running' || !(each instanceof CSSTransition)
  || each.currentTime > 2000)"""
"""No colour is on its way from one theme to the other, which axe-core would measure."""


def serious(page: Page, **options: object) -> list[str]:
    """What axe-core finds serious or critical, a line an element."""
    if not page.evaluate("'axe' in window"):  # half a megabyte of script, read once a page
        page.evaluate(AXE)
    asked = {"resultTypes": ["violations"], **options}
    violations = page.evaluate("options => axe.run(options).then(found => found.violations)", asked)
    return [
        f"{violation['id']}: {node['html']} {node.get('failureSummary', '')}"
        for violation in violations
        if violation["impact"] in ("serious", "critical") and violation["id"] not in NOT_OURS
        for node in violation["nodes"]
    ]


@pytest.fixture(scope="module")
def address(tmp_path_factory, trajectory):
    """A server whose store holds a recording, a failed evaluation and a name of a run that are all hostile."""
    home = tmp_path_factory.mktemp("home")
    info = trajectory.info
    model = info.model.model_copy(update={"source": HOSTILE, "architecture": HOSTILE})
    told = {"model": model, "prompt": HOSTILE, "final_text": HOSTILE, "tokens": dict.fromkeys(info.tokens, HOSTILE)}
    file = home / "recording.safetensors"
    save(replace(trajectory, info=info.model_copy(update=told)), file)
    store = Store(home)
    engine = Engine(store)
    engine.add_recording(file)
    engine.close()
    spec = EvaluateSpec(tasks=(HOSTILE,), names=(HOSTILE,))
    record = JobRecord(
        id="hostile",
        kind="evaluate",
        spec=spec.model_dump(mode="json"),
        state="failed",
        created=time.time(),
        finished=time.time(),
        reason=HOSTILE,
        traceback=HOSTILE,
    )
    store.save_job(record.id, record.model_dump(mode="json"))
    store.save_live(record.id, {"log": [{"time": 1.0, "text": HOSTILE}]})
    store.close()
    with server(home, TOKEN) as url:
        yield url


def harmless(page: Page, address: str, path: str) -> None:
    """Opens a page, on which nothing runs, from which nothing leaves the machine and nothing serious is found, and
    leaves it as it was opened."""
    asked = strangers(page)
    named = f"source={quote(PICTURE)}&evaluation=hostile"  # and the recording is the newest one
    page.goto(f"{address}/{path}{'&' if '?' in path else '?'}{named}")
    expect(page.get_by_text("Current study").first).to_be_visible()
    all_drawn(page)
    expect(page.get_by_text(PICTURE).first).to_be_visible()
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
    page.wait_for_function("document.querySelector('link[rel*=icon]').href.startsWith('data:')")
    if path in SHOWING:
        page.wait_for_function(HELD)  # the hostile text is on the page
    expect(page.locator("h1").first).to_be_visible()
    expect(page.locator("[data-testid=stSkeleton]")).to_have_count(0)
    few_words(page, 700 if path == "" else 400)  # Start tells six findings
    app = page.locator("[data-testid=stApp][data-test-script-state=notRunning]")
    themes: tuple[tuple[Literal["light", "dark"], dict[str, Any]], ...] = (("light", {}), ("dark", COLOURS))
    for scheme, rules in themes:
        page.emulate_media(color_scheme=scheme)
        expect(app).to_have_css("background-color", {"light": "rgb(255, 255, 255)", "dark": "rgb(16, 20, 29)"}[scheme])
        page.wait_for_function(NAMED_IN, arg=NAME_COLOUR[scheme])
        if path == EXPLORE:
            expect(page.get_by_role("group", name="Explorer")).to_have_attribute("data-theme", scheme)
        for _ in range(3):  # a refresh of the sidebar may fade what axe-core looks at
            page.wait_for_function(FADED)
            found = serious(page, **rules)
            if not found:
                break
        assert found == [], scheme
        color = app.evaluate("app => getComputedStyle(app).backgroundColor")
        page.wait_for_function(IN_THEME, arg=[color, path in PLOTTED])
    page.wait_for_timeout(500)  # a request that is none cannot be waited for
    assert page.evaluate("window.ran") is None
    assert asked == []
    page.emulate_media(color_scheme="light")


@contextmanager
def another_service():
    """Another service of this machine, at a port of its own: yields its address and the headers that it is sent."""
    received: list[dict[str, str]] = []

    class Notes(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            received.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Notes) as service:
        thread = threading.Thread(target=service.serve_forever)
        thread.start()
        yield f"http://localhost:{service.server_port}", received
        service.shutdown()
        thread.join()


def test_a_server_asks_for_its_token_and_sends_it_to_no_other_port(chromium, page, address):
    with visitor(chromium) as stranger:
        refused = stranger.new_page()
        refused.goto(f"{address}/causes")
        expect(refused.get_by_text("The access token is missing in this address.")).to_be_visible()
    assert any(TOKEN in cookie["value"] for cookie in page.context.cookies())
    with another_service() as (other, received):
        for path in ("/", "/explore", "/_stcore/stream", "/media/a.png"):
            page.goto(f"{other}{path}")
        opened = page.evaluate(
            "address => new Promise(end => { const socket = new WebSocket(address, ['streamlit']);"
            "socket.onopen = () => end(true); socket.onerror = () => end(false); })",
            f"{address.replace('http', 'ws')}/_stcore/stream",
        )
        assert len(received) >= 4 and not opened
        assert TOKEN not in str(received) and "/~" not in str(received)


@pytest.mark.parametrize("path", PAGES)
def test_nothing_runs_nothing_leaves_the_machine_and_nothing_serious_is_found(
    page: Page, address: str, path: str
) -> None:
    harmless(page, address, path)


PARTS = ("finding", "transport", "scrub", "text", "k", "curve", "heads", "raster")
"""Of the explorer on a phone, from above."""


def top(part: Locator) -> float:
    """Return where a part that is drawn begins, from the top of the page's window."""
    expect(part).to_be_visible()
    box = part.bounding_box()
    assert box is not None
    return box["y"]


def test_explore_is_harmless_shows_its_focus_and_on_a_phone_the_finding_before_the_prompt_and_whole_borders(
    page: Page, address: str
) -> None:
    harmless(page, address, EXPLORE)
    page.wait_for_url(re.compile(r"/~[\w-]{16}/explore\?.*heads_view=Chosen"))
    expect(page.locator("[data-testid=stMultiSelect]").first).to_be_visible()
    all_drawn(page)
    page.locator("[data-testid=stSidebarNavLink]").first.focus()
    page.keyboard.press("Tab")
    focused = page.locator("[data-testid=stSidebarNavLink]").nth(1)
    expect(focused).to_be_focused()
    expect(focused).to_have_css("outline-style", "solid")
    for name in ("Clear all", "Open"):
        button = page.locator("[data-testid=stMultiSelect]").first.get_by_role("button", name=name)
        assert min(button.evaluate("button => [button.offsetWidth, button.offsetHeight]")) >= 24, name

    finding, prompt = page.locator(".sx-finding"), page.get_by_role("textbox", name="Prompt")
    link = page.get_by_role("link", name="New recording")
    expect(finding).to_contain_text("At step")
    expect(link).to_be_hidden()
    page.set_viewport_size({"width": 390, "height": 844})
    all_drawn(page)
    borders = page.evaluate(BORDERS)
    assert len(borders) >= 4 and set(borders) == {1}
    expect(finding).to_be_in_viewport()
    expect(prompt).not_to_be_in_viewport()
    parts = [page.locator(f".sx-{name}") for name in PARTS]
    parts.append(page.get_by_role("link", name="Hide these sinks"))
    places = [top(part) for part in parts]
    assert places == sorted(places) and top(parts[PARTS.index("scrub")]) < 844
    link.click()
    expect(prompt).to_be_in_viewport()
    expect(page.get_by_role("button", name="Record", exact=True)).to_be_in_viewport()
    scrub, step = page.get_by_role("slider", name="Step", exact=True), page.locator(".sx-step")
    scrub.fill("7")
    expect(step).to_contain_text("Step 7 ")
    page.get_by_role("button", name="Next step").click()
    expect(scrub).to_have_value("8")
    page.set_viewport_size({"width": 1280, "height": 800})
    expect(scrub).to_be_hidden()  # the curve has one


def test_evidence_is_harmless_its_figures_on_one_level_and_on_a_phone_before_their_controls_beneath_all_views(
    page: Page, address: str
) -> None:
    harmless(page, address, "evidence")
    page.set_viewport_size({"width": 1280, "height": 800})  # where what is said of one has a line less
    expect(page.get_by_text("Left-to-right twin", exact=True)).to_be_visible()
    figures = page.locator(".sinkscope-plot")
    expect(figures).to_have_count(2)
    all_drawn(page)
    findings = page.locator("strong", has_text=re.compile("^(In layers|In untrained models|Elsewhere)"))
    first, second = (findings.nth(n).bounding_box() for n in range(2))
    left, right = (figures.nth(n).bounding_box() for n in range(2))
    assert first and second and left and right
    assert first["height"] != second["height"] and left["y"] == right["y"] and left["height"] == right["height"]
    definition = page.get_by_text(re.compile("^Shipped study. Sink: "))
    onward = page.get_by_role("link", name="See sinks in one recording")
    expect(definition).to_contain_text(" Stands out (bold): ")
    expect(definition).to_contain_text(" Untrained: 3 models, ")
    for link in ("See sinks in one recording", "Hide them: what changes?"):
        expect(page.get_by_role("link", name=link)).to_have_css("border-top-width", "1px")  # as a button
    assert top(figures.last) < top(definition) < top(onward)
    page.set_viewport_size({"width": 390, "height": 844})
    all_drawn(page)
    assert top(figures.first) < top(figures.last) < top(definition) < top(onward)

    # Every view is named without scrolling.
    views = page.locator(".st-key-evidence_view [data-variant=segmented_control]")
    expect(views).to_have_count(6)
    all_drawn(page)
    assert len({top(view) for view in views.all()}) == 2
    for view in views.all():
        expect(view).to_be_in_viewport(ratio=1)
    assert page.locator("html").evaluate("html => html.scrollWidth") == 390
