"""The real server, from outside: straight to a page on a fresh start, a queue that runs before anybody visits, and a
worker that dies under it."""

import os
import re
import signal
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import expect

from analysis.engine import JobRecord
from analysis.specs import LLaDASampling, ModelSpec, RecordSpec
from cache.store import Store
from tests.browser.conftest import visitor
from tests.browser.helpers import all_drawn, enter_number, held, record, worker_of
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


def test_a_fresh_server_asks_for_its_token_sends_it_to_no_other_port_runs_a_job_loses_its_worker_and_runs_another(
    page, tmp_path
):
    """Straight to a page first, and not to the first one."""
    token = "a-token-for-this-test"
    with server(tmp_path, token=token) as address, another_service() as (other, received):
        page.goto(f"{address}/causes")
        expect(page.get_by_text("The access token is missing in this address.")).to_be_visible()
        page.goto(f"{address}/causes?token={token}")
        expect(page.get_by_role("link", name="Explore")).to_be_visible()
        expect(page.get_by_text("About this model").first).to_be_visible()
        expect(page.get_by_text("There is no recording to look at yet.")).to_be_visible()
        assert re.fullmatch(rf"{address}/~[\w-]{{16}}/causes", page.url)
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
        record(page)
        expect(page.get_by_role("group", name="Explorer")).to_contain_text("an even split gives")
        worker = worker_of(address)
        os.kill(worker, signal.SIGKILL)
        while psutil.pid_exists(worker) and psutil.Process(worker).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.05)
        settings = page.get_by_text(re.compile("^Settings"))
        expect(settings).to_have_count(1)  # those of the page before are taken away as the new one is drawn
        settings.click()
        enter_number(page, "Seed", 5)
        expect(page.get_by_text("seed 5.")).to_be_visible()
        record(page)
        expect(page.get_by_role("combobox", name="Recording")).to_have_value(re.compile("seed 5$"))
        expect(page.get_by_role("group", name="Explorer")).to_contain_text("an even split gives")
        assert worker_of(address) != worker


def test_passwords_let_in_those_who_look_and_those_who_run(page, tmp_path):
    secrets = tmp_path / "secrets.toml"
    secrets.write_text('[sinkscope]\npassword = "for those who run"\nlook_password = "for those who look"\n')
    with server(tmp_path, "none", "--secrets.files", str(secrets)) as address:

        def give(password: str) -> None:
            page.get_by_label("Password").fill(password)
            page.get_by_role("button", name="Log in").click()

        page.goto(f"{address}/explore")
        give("a guess")
        expect(page.get_by_text("Wrong password.")).to_be_visible()
        assert page.context.cookies() == []
        give("for those who look")
        expect(page.get_by_text("You may look at this server").first).to_be_visible()
        expect(page.get_by_role("button", name="Record", exact=True)).to_be_disabled()
        page.context.clear_cookies()
        page.goto(f"{address}/explore")
        give("for those who run")
        expect(page.get_by_role("button", name="Record", exact=True)).to_be_enabled()
        page.goto(f"{address}/?source=/etc")
        expect(page.get_by_text("does not open the model").first).to_be_visible()


def test_a_demonstration_lets_anybody_in_records_and_refuses_the_rest(chromium, tmp_path, monkeypatch):
    """And a browser that is closed while its recording is made does not stop it."""
    monkeypatch.setenv("SINKSCOPE_DEMO", "1")
    with server(tmp_path, token="a-token-that-nobody-needs") as address:
        with visitor(chromium) as first:
            page = first.new_page()
            page.goto(f"{address}/explore")
            record(page)
            recorded = page.url
        with visitor(chromium) as second:
            page = second.new_page()
            assert page.request.put(f"{address}/_stcore/upload_file/a/b", data=b"x").status == 403
            page.goto(recorded)
            expect(page.get_by_text("This is a demonstration").filter(visible=True).first).to_be_visible()
            expect(page.get_by_role("group", name="Explorer")).to_contain_text("an even split gives")


def leave_queue(home: Path, count: int) -> Store:
    """A store as a server leaves it that is gone: a short recording waits in its queue, and so many of many seconds
    each."""
    store = Store(home)
    samplings = [LLaDASampling(gen_length=8, steps=4)] + count * [LLaDASampling(gen_length=240, steps=240, cfg=1.0)]
    for seed, sampling in enumerate(samplings):
        spec = RecordSpec(model=ModelSpec(device="cpu"), prompt="ben is", sampling=sampling, seed=seed)
        record = JobRecord(
            id=f"job{seed}",
            kind="record",
            spec=spec.model_dump(mode="json"),
            created=time.time() + seed,
            owner="1@1.00#0",
        )
        store.save_job(record.id, record.model_dump(mode="json"))
    return store


def far_from_its_end(store: Store) -> bool:
    """Whether a recording runs that has more steps before it than behind it, so that it can be held as it runs."""
    runs = [job["id"] for job in store.jobs() if job["state"] == "running"]
    told = [live["progress"] for job in runs if (live := store.live(job))]
    return any(0 < progress["done"] < progress["total"] / 2 for progress in told)


def test_the_queue_runs_before_anybody_visits_and_its_panel_survives_a_refresh_a_second_tab_and_a_restart(
    page, tmp_path
):
    store = leave_queue(tmp_path, 4)
    denoising = re.compile("denoising · step")
    with server(tmp_path) as address:
        until(lambda: store.job("job0")["state"] == "done")
        until(lambda: far_from_its_end(store))
        store.close()
        with held(worker_of(address)):
            page.goto(f"{address}/runs")
            panel = page.get_by_test_id("stSidebar")
            expect(panel.get_by_text(re.compile("jobs queued"))).to_be_visible()
            expect(panel.get_by_text(denoising)).to_be_visible()
            page.reload()
            expect(panel.get_by_text(denoising)).to_be_visible()
            second = page.context.new_page()
            second.goto(f"{address}/masks")
            expect(second.get_by_test_id("stSidebar").get_by_text(denoising)).to_be_visible()
            second.close()
    with server(tmp_path) as address:
        page.goto(f"{address}/runs")
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
        expect(panel.get_by_text(denoising)).to_be_visible()  # what waited runs
