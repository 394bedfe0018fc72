"""Every row of old_addresses.md: an old address leads to the page and tab that now show its view."""

import re
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from pages.parts import moved
from tests.helpers import ROOT

_ROW = re.compile(r"^\| [^|]+ \| ([^|]+) \| `([^`]*)` \| ([^|]+) \| (?:`([^`]*)` )?\|$")


def rows() -> list[tuple[str, str, str, str | None]]:
    """View, old address, where it is now, and the new address; None where it is the old one."""
    lines = Path(__file__).with_name("old_addresses.md").read_text(encoding="utf-8").splitlines()
    found = [_ROW.match(line) for line in lines if line.startswith("| ") and "---" not in line][1:]
    assert None not in found, "a row that the test cannot read"
    return [(match[1], match[2], match[3], match[4]) for match in found if match]


@pytest.fixture(scope="module")
def server():
    page = Route("/{name:path}", lambda request: PlainTextResponse("as it was"))
    return TestClient(Starlette(routes=[*moved.routes(), page]), follow_redirects=False)


def parted(address: str) -> tuple[str, set[tuple[str, str]]]:
    page, _, query = address.partition("?")
    return page.removeprefix("./"), set(parse_qsl(query))


@pytest.mark.parametrize(("view", "old", "now", "new"), rows())
def test_an_old_address_leads_to_the_view(server, view, old, now, new):
    answer = server.get(f"/{old}")
    if now == "as before":
        assert answer.text == "as it was" and new is None
        return
    assert answer.status_code == 307 and new is not None
    page, named = parted(answer.headers["location"])
    assert (page, named) == parted(new)
    assert not page or (ROOT / "pages" / f"{page}.py").exists()


def test_what_else_an_address_names_goes_along(server):
    assert server.get("/overview?source=bundled-ar&k=1.5").headers["location"] == "./?source=bundled-ar&k=1.5"
    assert server.get("/overview").headers["location"] == "./"
