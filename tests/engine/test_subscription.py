"""What is told while a server takes up jobs again: asked for only once what comes later is heard."""

import json
from typing import Any

import pytest

from analysis.engine import cluster
from analysis.engine.worker import TOPIC


class LateScheduler:
    """A dask client whose scheduler takes up subscriptions after so many events of this client's."""

    status = "running"

    def __init__(self, after: int) -> None:
        self.left = after
        self.handlers: dict[str, Any] = {}
        self.events: list[Any] = []

    def subscribe_topic(self, topic, handler):
        self.handlers[topic] = handler

    def log_event(self, topic, message):
        self.left -= 1
        if self.left < 0:
            self.handlers[topic]((0.0, message))

    def get_events(self, topic):
        assert topic == TOPIC
        self.events.append("asked")
        assert self.left < 0, "what is told between the answer and the subscription would be lost"
        return ((0.0, json.dumps({"run": "r", "log": "line"})),)

    def scheduler_info(self, *_, **__):
        return {"workers": {}}

    def unsubscribe_topic(self, topic):
        pass

    def close(self, timeout):
        pass


def test_what_was_told_is_asked_for_once_the_subscription_is_in_force():
    client = LateScheduler(after=3)
    connection = cluster.Cluster(client, None, lambda message: None)
    try:
        assert connection.said() == [{"run": "r", "log": "line"}]
        assert connection.said() == [{"run": "r", "log": "line"}]
        assert client.left == -1, "asked no more than needed"
    finally:
        connection.close()


def test_a_scheduler_that_takes_up_no_subscription_is_no_silence(monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_TIMEOUT", 0)
    connection = cluster.Cluster(LateScheduler(after=1_000_000), None, lambda message: None)
    try:
        with pytest.raises(TimeoutError, match="no subscription"):
            connection.said()
    finally:
        connection.close()
