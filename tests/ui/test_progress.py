"""What a bar says of how far a job is."""

from types import SimpleNamespace

import pytest

from analysis.engine.job_store import Progress
from pages.parts import asking


@pytest.mark.parametrize(
    ("details", "part", "said"),
    [
        ({}, 0.25, "denoising block 2 of 3 · step 3 of 12 · 20 s left"),
        ({"share_decided": 0.5}, 0.5, "denoising block 2 of 3 · step 3 of at most 12 · at most 20 s left"),
    ],
)
def test_steps_that_are_not_known_beforehand_are_at_most_so_many(monkeypatch, details, part, said):
    now = Progress(phase="denoising block 2 of 3", done=3, total=12, left=20.0, details=details)
    shown = []
    monkeypatch.setattr(asking, "engine", lambda: SimpleNamespace(place=lambda job: None, progress=lambda job: now))
    monkeypatch.setattr(asking.st, "progress", lambda value, text: shown.append((value, text)))
    asking.progress_bar(SimpleNamespace(id="any", waits_for=""))
    assert shown == [(part, said)]
