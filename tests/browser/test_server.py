"""The real server, from outside: straight to a page on a fresh start, and a queue that runs before anybody visits."""

import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import expect

from analysis.engine import JobRecord
from analysis.specs import LLaDASampling, ModelSpec, RecordSpec
from cache.store import Store
from tests.browser.helpers import all_drawn
from tests.engine.helpers import until
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


def leave_queue(home: Path) -> Store:
    """A store as a server leaves it that is gone: a recording waits in its queue, and another one was cut off."""
    store = Store(home)
    states: tuple[Literal["queued", "running"], ...] = ("queued", "running")
    for seed, state in enumerate(states):
        spec = RecordSpec(
            model=ModelSpec(device="cpu"), prompt="ben is", sampling=LLaDASampling(gen_length=8, steps=4), seed=seed
        )
        record = JobRecord(
            id=f"job{seed}",
            kind="record",
            spec=spec.model_dump(mode="json"),
            state=state,
            created=time.time() + seed,
            owner="1@1.00#0",
        )
        store.save_job(record.id, record.model_dump(mode="json"))
    return store


def test_a_server_works_off_its_queue_asks_for_its_token_sends_it_to_no_other_port_and_offers_what_was_cut_off(
    page, tmp_path
):
    """Straight to a page first, and not to the first one."""
    token = "a-token-for-this-test"
    store = leave_queue(tmp_path)
    with server(tmp_path, token=token) as address, another_service() as (other, received):
        until(lambda: store.job("job0")["state"] == "done")  # before anybody visits
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
        panel = page.get_by_test_id("stSidebar")
        cut_off = panel.get_by_text("1 job cut off")
        cut_off.click()
        expect(panel.get_by_text("SinkScope was stopped while this job ran.")).to_be_visible()
        again = panel.get_by_role("button", name="Start again")

        def started() -> bool:
            """Press where the button still stands: a press while the browser draws the panel anew falls on nothing."""
            all_drawn(page)
            if again.count():
                again.first.click()  # drawn anew, it may be there twice
            page.wait_for_timeout(1000)
            return not cut_off.count()

        until(started)
        until(lambda: store.job("job1")["state"] == "done")
    store.close()
