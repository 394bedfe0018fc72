"""Every page by axe-core's rules, in both themes: names, roles, labels, contrast."""

from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from analysis.engine import Engine
from analysis.specs import LLaDASampling, ModelSpec, RecordSpec
from cache.store import Store
from tests.browser.conftest import PATIENCE, visitor
from tests.helpers import server

pytestmark = pytest.mark.slow

STORY = ("", "denoise", "sinks", "dynamics", "causes")
WORKSHOP = ("tuning", "pruning", "accuracy", "sweep", "runs", "masks")
# Streamlit's own list of pages has groups between the list and its items.
NOT_OURS = {"list", "listitem"}
# Rules that a theme can break; names, roles and labels are the same in both.
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A server with a recording."""
    home = tmp_path_factory.mktemp("home")
    store = Store(home)
    engine = Engine(store, alone=True)
    sampling = LLaDASampling(gen_length=8, steps=8)
    spec = RecordSpec(model=ModelSpec(source="bundled"), prompt="Once upon a time", sampling=sampling)
    assert engine.wait(engine.submit("record", spec).id, PATIENCE / 1000).state == "done"
    engine.close()
    store.close()
    with server(home) as url:
        yield url


@pytest.fixture(scope="module")
def context(chromium):
    """One visitor, who comes to every page."""
    with visitor(chromium) as made:
        yield made


def serious(page: Page, **options: object) -> list[str]:
    """What axe-core finds serious or critical, a line an element."""
    violations = Axe().run(page, options={"resultTypes": ["violations"], **options}).response["violations"]
    return [
        f"{violation['id']}: {node['html']} {node.get('failureSummary', '')}"
        for violation in violations
        if violation["impact"] in ("serious", "critical") and violation["id"] not in NOT_OURS
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("path", [*STORY, *WORKSHOP])
def test_nothing_serious_is_found_in_either_theme(page: Page, address: str, path: str) -> None:
    page.goto(f"{address}/{path}")
    app = page.locator("[data-testid=stApp][data-test-script-state=notRunning]")
    expect(app).to_be_visible()
    expect(page.locator("h1").first).to_be_visible()
    expect(page.locator("[data-testid=stSkeleton]")).to_have_count(0)
    themes: tuple[tuple[Literal["light", "dark"], dict[str, Any]], ...] = (("light", {}), ("dark", COLOURS))
    for scheme, rules in themes:
        page.emulate_media(color_scheme=scheme)
        expect(app).to_have_css("background-color", {"light": "rgb(255, 255, 255)", "dark": "rgb(16, 20, 29)"}[scheme])
        assert serious(page, **rules) == [], scheme
