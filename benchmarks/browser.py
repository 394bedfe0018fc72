"""What a visitor waits for: `python -m benchmarks.browser [--rounds 5]`, in the system's Chromium, with the server up.

A store is filled first, some minutes: a recording, statistics for tuning and a small sweep of the bundled model. The
clock is the browser's. It starts as a key or the pointer goes down; `title` is the page's heading, `settled` the last
change of the page, of its plots where a control is moved, before it rests for QUIET seconds and its script has ended.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from analysis.specs import QUESTION
from docs.pictures import chromium_path, fill_by_hand, filled_server

QUIET = 0.6  # seconds
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
    if (changes.some(({target}) => main?.contains(target) && (!inside || of(target)?.closest(inside))))
      last = performance.now();
  };
  const observer = new MutationObserver(look);
  observer.observe(document, {subtree: true, childList: true, characterData: true, attributes: true});
  window.answer = new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error("nothing changed within PATIENCE ms")), PATIENCE);
    const check = setInterval(() => {
      const app = document.querySelector("[data-testid=stApp]");
      const rests = last !== null && performance.now() - last > QUIET && app?.dataset.testScriptState === "notRunning";
      if (!rests || (title && titled === null)) return;
      clearInterval(check);
      observer.disconnect();
      resolve([titled === null ? null : (titled - began) / 1000, (last - began) / 1000]);
    }, 50);
  });
};
""".replace("QUIET", f"{1000 * QUIET:.0f}").replace("PATIENCE", "60000")
_PLOTS = ".js-plotly-plot"
SLIDERS = (
    ("denoise", "k (standard deviations)"),
    ("sinks", "k (standard deviations)"),
    ("sinks?sinks_view=Ranking", "k (standard deviations)"),
    ("dynamics?dynamics_view=Positions", "k (standard deviations)"),
)
"""Addresses, and a slider of each that its plots depend on."""
PAGES = ("Denoise", "Sinks", "Dynamics", "Causes", "Tuning", "Pruning", "Accuracy", "Sweep", "Runs", "Masks")


def main() -> None:
    """Prints the median and the largest of each wait, in seconds, and the machine's load."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="times that each is waited for (default 5)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, filled_server(Path(home)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path(), args=["--no-sandbox", "--disable-background-networking", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(300_000)
        fill_by_hand(page, address)
        print(f"load {os.getloadavg()[0]:.1f}; {options.rounds} rounds; median and largest, in seconds\n")

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
        page.goto(address)
        rest(page)
        answers: dict[str, list[list[float]]] = {name: [] for name in PAGES}
        for _ in range(options.rounds):
            for name in PAGES:
                link = page.get_by_test_id("stSidebarNav").get_by_role("link", name=name, exact=True)
                answers[name].append(timed(page, link.click, name, None))
        for name, of_page in answers.items():
            tell(f"to {name}: title", [title for title, _ in of_page])
            tell("… settled", [settled for _, settled in of_page])

        for path, label in SLIDERS:
            page.goto(f"{address}/{path}")
            rest(page)
            slider = page.get_by_role("slider", name=label).first
            slider.focus()
            moves = [timed(page, partial(slider.press, "ArrowRight"), None, _PLOTS) for _ in range(options.rounds)]
            tell(f"{path}: {label} to plots redrawn", [settled for _, settled in moves])

        page.goto(f"{address}/sinks")
        rest(page)
        cells = page.locator(".st-key-head_grid .scatterlayer path.point")
        clicks = [
            timed(page, partial(cells.nth(7 * number % 48).click, force=True), None, _PLOTS)
            for number in range(1, options.rounds + 1)
        ]
        tell("sinks: a click on a head to its plots", [settled for _, settled in clicks])
        print(f"\nload {os.getloadavg()[0]:.1f}")
        browser.close()


def timed(page: Page, act: Callable[[], None], title: str | None, inside: str | None) -> list[float]:
    """Seconds to the title (None where none is asked for) and until the page rests, after an act. inside: a selector of
    what has to change."""
    page.evaluate("([title, inside]) => clock(title, inside, false)", [title, inside])
    act()
    answer: list[float] = page.evaluate("answer")
    return answer


def rest(page: Page) -> None:
    """Waits until the script of the page has ended and its plots are drawn."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.wait_for_timeout(1000 * 2 * QUIET)


def tell(what: str, seconds: list[float]) -> None:
    """Prints a line."""
    print(f"{what:<60} {statistics.median(seconds):6.2f} {max(seconds):6.2f}", flush=True)


if __name__ == "__main__":
    main()
