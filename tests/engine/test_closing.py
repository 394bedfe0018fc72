"""Closing a local cluster: what its workers were asked is answered or dropped, and nothing is said on the terminal."""

import logging
import time

import pytest

from analysis.engine import cluster
from analysis.engine.cluster import start_local


@pytest.mark.parametrize(("seconds", "least"), [(0.5, 0.2), (60, cluster.CLOSING_WAIT)], ids=["answers", "hangs"])
def test_a_worker_that_was_asked_something_is_waited_for_and_then_killed_without_a_word(seconds, least):
    said: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("distributed").addHandler(handler)
    local = start_local(lambda event: None, ["cpu"], None)
    try:
        while not local.places():
            time.sleep(0.1)
            local.look_again()
        local.tell(next(iter(local.places())), time.sleep, seconds)
        time.sleep(0.2)
        began = time.monotonic()
        local.close()
        assert least <= time.monotonic() - began < 10
        time.sleep(0.5)
    finally:
        local.close()
        logging.getLogger("distributed").removeHandler(handler)
    assert not said
