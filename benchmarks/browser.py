"""Waits of a visitor: `python -m benchmarks.browser [--rounds 5]`, in the system's Chromium, with the server up.

A store is filled first, which takes some minutes: a recording, statistics for tuning and a small sweep of the bundled
model. The clock is the browser's. It starts as a key or the pointer goes down; `title` is the page's heading, `settled`
the last change of the page, of its plots where a control is moved, before it rests for QUIET seconds and its script has
ended. What lies below the visible part comes 2 s later (`pages/parts/lazy_section.py`), and is left out.
A move that changes no plot is not counted: there is another one until there are as many as rounds.
"""

import argparse
import itertools
import os
import statistics
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from analysis.specs import QUESTION
from docs.pictures import chromium_path, fill_by_hand, filled_server

QUIET = 0.6  # seconds
UNCHANGED = (
    3.0  # seconds after an act without a change of a plot, and with no script at work, after which none will come
)
MOST = 40  # moves of one control
_CLOCK = """
window.clock = (title, inside, fromHere) => {
  let began = fromHere ? 0 : null, titled = null, last = null;
  const start = () => { began ??= performance.now(); };
  for (const kind of ["keydown", "pointerdown"]) addEventListener(kind, start, {capture: true, once: true});
  const look = (changes) => {
    if (began === null) return;
    const main = document.querySelector("[data-testid=stMain]");
    const heading = main?.querySelector("h1")?.textContent.trim();
    if (title && titled === null && heading?.startsWith(title)) titled = performance.now();
    const of = (node) => node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement;
    const isSeen = (node) => main?.contains(node.getRootNode().host ?? node);
    if (changes.some(({target}) => isSeen(target) && (!inside || of(target)?.closest(inside))))
      last = performance.now();
  };
  const observer = new MutationObserver(look);
  const roots = [...document.querySelectorAll("*")].map((each) => each.shadowRoot).filter(Boolean); // of components
  for (const root of [document, ...roots])
    observer.observe(root, {subtree: true, childList: true, characterData: true, attributes: true});
  window.answer = new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error("nothing changed within PATIENCE ms")), PATIENCE);
    const check = setInterval(() => {
      const app = document.querySelector("[data-testid=stApp]");
      const ended = app?.dataset.testScriptState === "notRunning";
      if (inside && last === null && began !== null && ended && performance.now() - began > UNCHANGED) {
        clearInterval(check);
        observer.disconnect();
        resolve(null);
      }
      const rests = last !== null && performance.now() - last > QUIET && ended;
      if (!rests || (title && titled === null)) return;
      clearInterval(check);
      observer.disconnect();
      resolve([titled === null ? null : (titled - began) / 1000, (last - began) / 1000]);
    }, 50);
  });
};
"""
for _name, _seconds in (("QUIET", QUIET), ("UNCHANGED", UNCHANGED), ("PATIENCE", 60)):
    _CLOCK = _CLOCK.replace(_name, f"{1000 * _seconds:.0f}")
_PLOTS = ".js-plotly-plot"
_DEFINITION = "Mass above mean"  # start of the name of the slider for its threshold
SLIDERS = (
    ("explore?tab=Dynamics&dynamics_view=Positions", _DEFINITION),
    ("explore?tab=Heads&metric=Sink+lifetime", _DEFINITION),
)
"""Addresses, and a slider of each that its plots depend on."""
PAGES = {"Start": QUESTION} | {name: name for name in ("Explore", "Evidence", "Causes", "Prune", "Runs", "Sweep")}
"""The pages in the sidebar, and how the heading of each begins."""


def main() -> None:
    """Print the median and the largest of each wait, in seconds, and the machine's load."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="times that each is waited for (default 5)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, filled_server(Path(home)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path(), args=["--no-sandbox", "--disable-background-networking", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(300_000)
        stored = fill_by_hand(page, address)
        print(f"load {os.getloadavg()[0]:.1f}; {options.rounds} rounds; median and largest, in seconds\n")
        tell("prune: Store statistics to its first plot, once", [stored])

        first = []
        for _ in range(options.rounds):
            context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
            context.add_init_script(f"{_CLOCK}\nclock({QUESTION!r}, null, true);")
            visited = context.new_page()
            visited.goto(address)
            first.append(visited.evaluate("answer"))
            context.close()
        tell("first page, a browser that was never here: title", [title for title, _ in first])
        tell("… settled", [settled for _, settled in first])

        page.add_init_script(_CLOCK)
        page.emulate_media(reduced_motion="reduce")
        page.goto(f"{address}/sweep")
        rest(page)
        answers: dict[str, list[list[float]]] = {name: [] for name in PAGES}
        for _ in range(options.rounds):
            for name, heading in PAGES.items():
                link = page.get_by_test_id("stSidebarNav").get_by_role("link", name=name, exact=True)
                answer = timed(page, link.click, heading, None)
                assert answer is not None  # only a control can change nothing
                answers[name].append(answer)
        for name, of_page in answers.items():
            tell(f"to {name}: title", [title for title, _ in of_page])
            tell("… settled", [settled for _, settled in of_page])

        for path, label in SLIDERS:
            page.goto(f"{address}/{path}")
            rest(page)
            slider = page.get_by_role("slider", name=label).first
            slider.focus()
            # A step up and further, then down and further: an end is never reached.
            keys = itertools.cycle([*["ArrowRight"] * 10, *["ArrowLeft"] * 10])
            tell_changes(
                page, f"{path}: {label} to plots redrawn", (partial(slider.press, key) for key in keys), options.rounds
            )

        page.goto(f"{address}/explore?tab=Heads&metric=Entropy")
        rest(page)
        points = (partial(point, page, *divmod(7 * number % 48, 6)) for number in itertools.count(1))
        tell_changes(page, "explore: a click on a head of the tab to the explorer", points, options.rounds, ".sx")
        print(f"\nload {os.getloadavg()[0]:.1f}")
        browser.close()


def point(page: Page, layer: int, head: int) -> None:
    """Click one of the bundled model's 8 × 6 heads in their grid, which hears it where it has seen the pointer."""
    grid = page.locator(".st-key-head_grid .nsewdrag").first
    grid.scroll_into_view_if_needed()
    box = grid.bounding_box()
    assert box is not None
    at = box["x"] + box["width"] * (head + 0.5) / 6, box["y"] + box["height"] * (layer + 0.5) / 8
    page.mouse.move(*at)
    page.wait_for_timeout(150)
    page.mouse.click(*at)


def tell_changes(page: Page, what: str, acts: Iterable[Callable[[], None]], rounds: int, of: str = _PLOTS) -> None:
    """Print how long acts took to redraw plots, of as many as rounds that did, among MOST at most. of: a selector."""
    seconds: list[float] = []
    acted = 0
    for act in itertools.islice(acts, MOST):
        answer = timed(page, act, None, of)
        rest(page)
        acted += 1
        if answer is not None:
            seconds.append(answer[1])
        if len(seconds) == rounds:
            break
    if seconds:
        tell(f"{what}{f' ({acted - len(seconds)} changed none)' if acted > len(seconds) else ''}", seconds)
    else:
        print(f"{what}: none of {acted} changed a plot", flush=True)


def timed(page: Page, act: Callable[[], None], title: str | None, inside: str | None) -> list[float] | None:
    """Seconds to the title (None where none is asked for) and until the page rests, after an act. inside: a selector of
    what is looked at; None where nothing of it changed."""
    page.evaluate("([title, inside]) => clock(title, inside, false)", [title, inside])
    act()
    answer: list[float] | None = page.evaluate("answer")
    return answer


def rest(page: Page) -> None:
    """Wait until the script of the page has ended and its plots are drawn."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.wait_for_timeout(1000 * 2 * QUIET)


def tell(what: str, seconds: list[float]) -> None:
    """Print a line."""
    print(f"{what:<60} {statistics.median(seconds):6.2f} {max(seconds):6.2f}", flush=True)


if __name__ == "__main__":
    main()
