"""Makes the pictures of the README: `python -m docs.pictures`, with the system's Chromium, some minutes.

A server of its own is visited page by page, at a store that `python -m analysis demo` has filled.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "pictures"
LIMIT = 1_500_000  # bytes, all together
PAGES = {
    "start": "",
    "explore": "explore",
    "evidence": "evidence",
    "causes": "causes",
    "prune": "prune",
    "sweep": "sweep",
    "runs": "runs",
    "accuracy": "runs?runs_view=Accuracy",
    "masks": "runs?runs_view=Masks",
}
"""Addresses by the names of the pictures."""
_SETTLED = "[data-testid=stApp][data-test-script-state=notRunning]"
_PATIENCE = 300_000  # ms


def main() -> None:
    """Write every picture. Raises SystemExit if they take more than LIMIT together."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home, filled_server(Path(home), "record_set,ablate_set,sweep") as address:
        _visit(address)
    size = sum(file.stat().st_size for file in FOLDER.glob("*.jpg"))
    print(f"{size / 1e6:.2f} MB in {FOLDER}")
    if size > LIMIT:
        raise SystemExit(f"The pictures take more than {LIMIT / 1e6:.1f} MB.")


@contextmanager
def filled_server(home: Path, jobs: str = "sweep") -> Iterator[str]:
    """The address of a server at a store that was filled as for a demonstration."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "SINKSCOPE_HOME": str(home), "SINKSCOPE_TOKEN": "none"}
    fill = [sys.executable, "-m", "analysis", "demo", "--only", jobs]
    subprocess.run(fill, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        _wait(port)
        yield f"http://localhost:{port}"
    finally:
        server.terminate()
        server.wait(60)


def _wait(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.2)


def chromium_path() -> str:
    """Return the path of the system's Chromium."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"


def fill_by_hand(page: Page, address: str) -> float:
    """Record a prompt and store statistics, as a visitor does. Return the seconds from the button of the latter to the
    first plot; the worker holds the model by then.
    """
    page.goto(f"{address}/explore")
    page.get_by_role("button", name="Record", exact=True).click()
    page.get_by_role("combobox", name="Recording").wait_for()
    page.goto(f"{address}/prune")
    preview = page.locator(".st-key-prune_preview")
    page.get_by_role("button", name="Preview masks").click()
    began = time.monotonic()
    preview.locator(".js-plotly-plot .main-svg").first.wait_for()
    took = time.monotonic() - began
    preview.locator(".st-key-fold_prune_map summary").first.click()
    page.get_by_text("Weights chosen differently, this setting").first.wait_for()
    page.get_by_test_id("stMetricValue").filter(has_text="%").nth(2).wait_for()  # the floor and the output error, too
    return took


def _visit(address: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.set_default_timeout(_PATIENCE)
        fill_by_hand(page, address)
        for name, path in PAGES.items():
            page.goto(f"{address}/{path}")
            page.locator(_SETTLED).wait_for()
            page.wait_for_timeout(2500)  # plots draw a little after the script has ended
            page.locator(_SETTLED).wait_for()
            page.screenshot(path=FOLDER / f"{name}.jpg", type="jpeg", quality=60)
            print(name, flush=True)
        browser.close()


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m docs.pictures", description=__doc__).parse_args()
    main()
