"""What tests in the browser wait for, and the worker behind the server, which they end or hold."""

import os
import re
import signal
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil
from playwright.sync_api import Locator, Page, TimeoutError, ViewportSize, expect

from tests.browser.conftest import PATIENCE


def all_drawn(page: Page) -> None:
    """Waits until the page has reached the server, and its script has run to its end, also of what lies below.

    A page that has just connected runs no script yet either, and shows nothing.
    """
    expect(page.get_by_test_id("stMain").get_by_test_id("stElementContainer").first).to_be_attached()
    done = page.locator("[data-testid=stApp][data-test-connection-state=CONNECTED][data-test-script-state=notRunning]")
    expect(done).to_be_visible()
    expect(page.locator("[data-waits]")).to_have_count(0)
    expect(done).to_be_visible()


def plot(page: Page, key: str) -> Locator:
    """The plot of this key, drawn: one that is far below what is seen waits until it comes near."""
    place = page.locator(f".st-key-{key} .sinkscope-plot").first
    place.scroll_into_view_if_needed()
    expect(place).to_have_class(re.compile("js-plotly-plot"))
    return place


NAVIGATING = ["Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"]
"""The tools of a plot that is not clicked, but those that save or enlarge it."""


def tools(place: Locator) -> list[str]:
    """The names of the buttons in a plot's tool bar, which stands above the plot, is seen once that is pointed at, and
    sends nothing anywhere.
    """
    bar = place.locator(".modebar")
    place.page.mouse.move(0, 0)
    expect(bar).to_have_css("opacity", "0")
    place.hover()
    expect(bar).to_have_css("opacity", "1")
    above, below = bar.bounding_box(), place.bounding_box()
    assert above is not None and below is not None
    assert above["y"] + above["height"] <= below["y"] + 1, "it covers something of the plot"
    buttons = bar.locator(".modebar-btn")
    sizes = "each => each.flatMap(button => [button.offsetWidth, button.offsetHeight])"
    assert min(buttons.evaluate_all(sizes)) >= 24
    assert buttons.evaluate_all("each => each.filter(button => button.tabIndex === 0).length") == 1, "one stop"
    assert place.evaluate("plot => plot._context.plotlyServerURL") == ""
    return buttons.evaluate_all("each => each.map(button => button.dataset.title)")


def click_cell(page: Page, key: str, row: int, column: int, shape: tuple[int, int]) -> None:
    """Clicks a cell of a plot that is one heatmap of so many rows and columns, the first row on top."""
    area = plot(page, key).locator(".nsewdrag").first
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    assert box is not None
    at = box["x"] + box["width"] * (column + 0.5) / shape[1], box["y"] + box["height"] * (row + 0.5) / shape[0]
    page.mouse.move(*at)
    expect(page.locator(f".st-key-{key} .hoverlayer .hovertext")).to_be_visible()  # Plotly clicks what it hovers over
    page.mouse.click(*at)


# By how many pixels a slide's parts leave it or lie upon each other.
OVERFLOWS = """slide => {
  const drawn = [...slide.children].filter((part) => part.clientHeight);
  const [head, body, foot] = drawn.map((part) => part.getBoundingClientRect());
  const over = [slide.scrollHeight - slide.clientHeight, head.bottom - body.top, foot ? body.bottom - foot.top : 0];
  return Math.max(0, ...over.map(Math.floor));
}"""
HOSTILE = (
    "\"><img src=x onerror='window.ran=true'><script>window.ran=true</script><svg onload='window.ran=true'> "
    "![x](//evil.test/a)"
)
"""Text that runs a script where a page takes it for HTML, and sets `window.ran`."""


def enter_number(page: Page, label: str, value: int) -> None:
    """Types a number into a field. What is typed while the page is being drawn is lost: it is typed again."""
    field = page.get_by_role("spinbutton", name=re.compile(f"^{label}"))
    for _ in range(5):
        all_drawn(page)
        field.fill(str(value))
        field.press("Enter")
        all_drawn(page)
        if field.input_value() == str(value):
            return
    raise AssertionError(f"{label} does not take {value}")


def open_settings(page: Page) -> None:
    """Opens the settings of a recording; again where the press fell on nothing, as they were being drawn anew."""
    first = page.get_by_role("spinbutton", name=re.compile("^New tokens"))
    for patience in (20_000, 60_000, PATIENCE):
        all_drawn(page)
        page.get_by_text(re.compile("^Settings")).click()
        try:
            first.wait_for(timeout=patience)
            return
        except TimeoutError:
            continue
    raise AssertionError("the settings do not open")


def record(page: Page) -> None:
    """Presses Record and waits for the address of the new recording; again where the press fell on nothing, as the
    browser was drawing the button anew. What is asked twice is recorded once."""
    all_drawn(page)
    if page.get_by_role("combobox", name="Recording").count():  # one recorded before is shown
        page.wait_for_url(re.compile("recording="))
    before = recording_in(page.url)
    for patience in (20_000, 20_000, 60_000, PATIENCE):
        all_drawn(page)
        page.get_by_role("button", name="Record", exact=True).click()
        try:
            page.wait_for_url(lambda url: recording_in(url) not in (None, before), timeout=patience)
            return
        except TimeoutError:
            continue
    raise AssertionError("nothing was recorded")


def recording_in(url: str) -> str | None:
    """The recording that an address names; its other parts change by themselves."""
    named = re.search(r"[?&]recording=(\w+)", url)
    return None if named is None else named[1]


# Playing may be over before a test looks, so the page itself notes that it did.
_NOTE_PLAYING = """
const paused = (root) => [...root.querySelectorAll("*")].some((each) =>
  each.shadowRoot ? paused(each.shadowRoot) : each.ariaLabel === "Pause");
setInterval(() => { window.played ||= paused(document); }, 50);
"""


def moving(page: Page) -> Page:
    """A page to which the browser says from now on that motion is wanted."""
    page.emulate_media(reduced_motion="no-preference")
    page.add_init_script(_NOTE_PLAYING)
    page.evaluate(_NOTE_PLAYING)
    return page


def played(page: Page) -> None:
    """Waits until a player has played on a page since it is `moving`."""
    page.wait_for_function("window.played", timeout=PATIENCE)


def worker_of(address: str) -> int:
    """Process id of the dask worker below the server on this port: the child that has torch loaded."""
    port = int(address.rsplit(":", 1)[1])
    owner = next(
        item.pid for item in psutil.net_connections("tcp") if item.laddr.port == port and item.status == "LISTEN"
    )
    ends = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < ends:
        for child in psutil.Process(owner).children(recursive=True):
            with suppress(psutil.NoSuchProcess, OSError):
                if b"libtorch" in Path(f"/proc/{child.pid}/maps").read_bytes():
                    return child.pid
        time.sleep(0.2)
    raise AssertionError("no worker process has loaded torch")


def is_locked(database: Path) -> bool:
    """Return whether a write to a database is under way."""
    with closing(sqlite3.connect(database, timeout=0)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            return True
        connection.rollback()
    return False


@contextmanager
def held(worker: int):
    """Hold a worker where it is, so that no job ends before what the test does to it, and where it holds no lock that
    the server waits for. worker: of `worker_of`, which takes longer to find than a short job to end."""
    stores = list(Path(psutil.Process(worker).environ()["SINKSCOPE_HOME"]).rglob("*.db"))
    os.kill(worker, signal.SIGSTOP)
    ends = time.monotonic() + PATIENCE / 1000
    while any(map(is_locked, stores)):
        os.kill(worker, signal.SIGCONT)
        assert time.monotonic() < ends, "something is written all the time"
        time.sleep(0.05)
        os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGCONT)


def strangers(page: Page) -> list[str]:
    """Collects the addresses a page asks for that are not its own server's."""
    asked: list[str] = []

    def note(request) -> None:
        if not re.match(r"(https?|wss?)://localhost[:/]|data:|blob:", request.url):
            asked.append(request.url)

    page.on("request", note)
    return asked


# Words of a page's own: no numbers, and not those of recorded texts, plots, tables and commands.
_WORDS = r"""() => {
  const main = document.querySelector("[data-testid=stMain]"), counted = [0, 0];
  const data = `svg, figure, pre, .sinkscope-plot, .player .text,
    [data-testid=stDataFrame], [data-testid=stIconMaterial]`;
  const hidden = (element) => {
    for (let each = element; each; each = each.parentElement ?? each.getRootNode().host) {
      const style = getComputedStyle(each);
      if (style.display === "none" || style.visibility === "hidden" || style.opacity === "0") return true;
      if (style.clipPath === "inset(50%)" || (each.tagName === "DETAILS" && !each.open && !element.closest("summary")))
        return true;
    }
    return false;
  };
  const count = (root) => {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (node.nodeType === Node.ELEMENT_NODE && node.shadowRoot) count(node.shadowRoot);
      if (node.nodeType === Node.ELEMENT_NODE) continue;
      const words = node.textContent.match(/\S*\p{L}\S*/gu), parent = node.parentElement;
      if (!words || !parent || ["STYLE", "SCRIPT", "OPTION"].includes(parent.tagName)) continue;
      if (parent.closest(data) || hidden(parent)) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      const box = range.getBoundingClientRect();
      if (box.width < 1 || box.height < 1) continue;
      counted[1] += words.length;
      if (box.top < innerHeight) counted[0] += words.length;
    }
  };
  count(main);
  return counted;
}"""
SCREEN: ViewportSize = {"width": 1280, "height": 800}


def few_words(page: Page, most: int = 400) -> None:
    """Holds that a page that is drawn has at most 150 words of its own on its first screen, and so many in all."""
    before = page.viewport_size
    page.set_viewport_size(SCREEN)
    first, whole = page.evaluate(_WORDS)
    assert first <= 150 and whole <= most, (first, whole)
    if before is not None:
        page.set_viewport_size(before)
