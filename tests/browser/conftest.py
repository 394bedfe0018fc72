"""A server for browser tests, and pages in the system's Chromium."""

import os
import shlex
import shutil
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.helpers import server

# Of what happens, not of how fast: the suite also runs beside other work. Twice what the longest whole test took there,
# and what does not come keeps the suite waiting no longer.
PATIENCE = int(os.environ.get("BROWSER_PATIENCE", "180000"))  # ms
expect.set_options(timeout=PATIENCE)
POLICY = "Content Security Policy"  # in what the browser says of something that one refused
# The headless shell takes a fifth less of the CPU.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), "/usr/bin/chromium")


@pytest.fixture(scope="package")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="package")
def address(home):
    """One server for the files of `ONE_SERVER`, the first of which begins with an empty store. It ends before the next
    folder's tests, from which a waiting server would take time."""
    with server(home) as url:
        yield url


# With every page Chromium draws two more for its address bar, which nobody sees here: a second of the CPU. Playwright
# names the features that it turns off in one switch, and of two such switches the last one counts: these join its own.
WITHOUT_ADDRESS_BAR = """#!/bin/sh
for each; do
    case "$each" in --disable-features=*) each="$each,WebUIOmniboxPopup,WebUIOmniboxAimPopup" ;; esac
    set -- "$@" "$each"
    shift
done
exec {chromium} "$@"
"""


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    starter = tmp_path_factory.mktemp("chromium") / "chromium"
    starter.write_text(WITHOUT_ADDRESS_BAR.format(chromium=shlex.quote(CHROMIUM)))
    starter.chmod(0o755)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=starter,
            args=["--no-sandbox", "--disable-background-networking", "--disable-gpu"],
            timeout=PATIENCE,
        )
        yield browser
        browser.close()


@contextmanager
def visitor(chromium):
    """A browser of one visitor: its own cookies and storage, and its own cache, which an app of many scripts fills.

    Players do not play by themselves, which costs more than all else where no graphics card draws them: `moving`.
    """
    context = chromium.new_context(viewport={"width": 1280, "height": 1600}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE)
    refused: list[str] = []
    context.on("console", lambda message: refused.append(message.text) if POLICY in message.text else None)
    yield context
    context.close()
    assert refused == [], "the pages' own policy refuses something that they need"


@pytest.fixture
def context(chromium):
    """A visitor who was never here. Modules whose tests open many pages have one for all."""
    with visitor(chromium) as made:
        yield made


@pytest.fixture
def page(context):
    opened = context.new_page()
    yield opened
    opened.close()
