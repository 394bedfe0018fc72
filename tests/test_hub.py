"""Whether the hub answers, with a server of ours in its place."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import datasets
import huggingface_hub.constants
import pytest

from analysis import hub


class Hub(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_hub_that_answers_is_reachable_until_it_must_not_be_asked(server):
    assert hub.reachable()
    before = datasets.config.HF_HUB_OFFLINE
    with pytest.raises(RuntimeError), hub.offline():
        assert not hub.reachable()
        raise RuntimeError
    assert hub.reachable()
    assert before == datasets.config.HF_HUB_OFFLINE


def test_a_dataset_that_was_fetched_is_known_by_its_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    assert not hub.stored("Rowan/hellaswag") and not hub.stored("cais/mmlu")
    (tmp_path / "hub" / "datasets--Rowan--hellaswag").mkdir(parents=True)
    (tmp_path / "datasets" / "cais___mmlu").mkdir(parents=True)
    assert hub.stored("Rowan/hellaswag") and hub.stored("cais/mmlu") and not hub.stored("allenai/ai2_arc")


def test_a_hub_that_does_not_answer_is_not(server):
    server.shutdown()
    server.server_close()
    assert not hub.reachable()
