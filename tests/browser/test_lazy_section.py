"""What lies below what is seen: when it is sent, and that nothing moves meanwhile."""

import pytest
from playwright.sync_api import Page, expect

from tests.helpers import server

pytestmark = pytest.mark.slow
SCRIPT = """
import streamlit as st
from pages.parts.lazy_section import lazy_section

st.title("Above")
for line in range(30):
    st.write(f"line {line}")
lazy_section(lambda: [st.write(f"further line {line}") for line in range(30)], "part", 900)
"""
NO_WHILE = "const real = setTimeout; setTimeout = (act, ms, ...given) => ms === 2000 ? 0 : real(act, ms, ...given);"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    script = home / "lines.py"
    script.write_text(SCRIPT, encoding="utf-8")
    with server(home, script=script) as url:
        yield url


def opened(page: Page, address: str, height: int) -> None:
    page.set_viewport_size({"width": 1280, "height": height})
    page.goto(address)
    expect(page.get_by_text("line 29", exact=True)).to_be_attached()


def test_it_is_sent_as_it_comes_near_and_its_place_is_kept(page, address):
    page.add_init_script(NO_WHILE)
    opened(page, address, 600)
    expect(page.locator("[data-waits]")).to_have_css("min-height", "900px")
    page.wait_for_timeout(1000)
    expect(page.get_by_text("further line 0")).to_have_count(0)
    page.get_by_text("line 12", exact=True).scroll_into_view_if_needed()
    page.get_by_text("line 25", exact=True).scroll_into_view_if_needed()
    expect(page.get_by_text("further line 29")).to_be_attached()
    expect(page.locator("[data-waits]")).to_have_count(0)


def test_it_is_sent_at_once_where_it_is_seen(page, address):
    page.add_init_script(NO_WHILE)
    opened(page, address, 3000)
    expect(page.get_by_text("further line 29")).to_be_visible()


def test_it_is_sent_after_a_while_so_that_it_can_be_found_and_printed(page, address):
    opened(page, address, 600)
    expect(page.get_by_text("further line 29")).to_be_attached()
    assert page.get_by_test_id("stMain").evaluate("main => main.scrollTop") == 0
