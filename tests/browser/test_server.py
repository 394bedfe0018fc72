"""The real server, from outside: straight to a page on a fresh start."""

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from playwright.sync_api import expect

from tests.helpers import server

pytestmark = pytest.mark.slow


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


def test_a_server_asks_for_its_token_and_sends_it_to_no_other_port(page, tmp_path):
    """Straight to a page first, and not to the first one."""
    token = "a-token-for-this-test"
    with server(tmp_path, token=token) as address, another_service() as (other, received):
        page.goto(f"{address}/causes")
        expect(page.get_by_text("The access token is missing in this address.")).to_be_visible()
        page.goto(f"{address}/causes?token={token}")
        expect(page.get_by_role("link", name="Explore")).to_be_visible()
        expect(page.get_by_text("About this model").first).to_be_visible()
        assert re.fullmatch(rf"{address}/~[\w-]{{16}}/causes.*", page.url)
        assert any(token in cookie["value"] for cookie in page.context.cookies())
        for path in ("/", "/explore", "/_stcore/stream", "/media/a.png"):
            page.goto(f"{other}{path}")
        opened = page.evaluate(
            "address => new Promise(end => { const socket = new WebSocket(address, ['streamlit']);"
            "socket.onopen = () => end(true); socket.onerror = () => end(false); })",
            f"{address.replace('http', 'ws')}/_stcore/stream",
        )
        assert len(received) >= 4 and not opened
        assert token not in str(received) and "/~" not in str(received)

        page.goto(f"{address}/denoise?x=1")  # which was once a page
        page.wait_for_url(re.compile(r"/~[\w-]{16}/explore\?x=1"))
        expect(page.get_by_role("group", name="Explorer")).to_contain_text("an even split gives")
