"""A server for browser tests, and pages in the system's Chromium."""

import os
import shlex
import shutil
import time
from contextlib import contextmanager
from typing import Literal

import pytest
from playwright.sync_api import expect, sync_playwright

from analysis.engine import JobRecord
from analysis.models.registry import BUNDLED_PAIR
from analysis.specs import LoadSpec, ModelSpec
from cache.store import Store
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
    """A store as a server leaves it that is gone: a job waits in its queue, and another one was cut off. Nothing was
    recorded."""
    folder = tmp_path_factory.mktemp("home")
    store = Store(folder)
    states: tuple[Literal["queued", "running"], ...] = ("queued", "running")
    for number, (source, state) in enumerate(zip(BUNDLED_PAIR, states, strict=True)):
        record = JobRecord(
            id=f"job{number}",
            kind="load",
            spec=LoadSpec(model=ModelSpec(source=source, device="cpu")).model_dump(mode="json"),
            state=state,
            created=time.time() + number,
            owner="1@1.00#0",
        )
        store.save_job(record.id, record.model_dump(mode="json"))
    store.close()
    return folder


@pytest.fixture(scope="package")
def address(home):
    """One server for the files of `ONE_SERVER`, the first of which begins before anybody visits. It ends before the
    next folder's tests, from which a waiting server would take time."""
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
