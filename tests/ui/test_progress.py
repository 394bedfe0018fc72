"""What a bar says of how far a job is."""

from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from analysis.engine import JobRecord
from analysis.engine.job_store import Progress
from analysis.specs import AblateSetSpec, ModelSpec
from pages.parts import asking
from pages.parts.session import engine


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


def test_a_running_job_stands_in_the_sidebar_and_on_its_page_at_once(monkeypatch):
    spec = AblateSetSpec(model=ModelSpec(source="bundled"), prompts=("Sue is", "Leo is")).model_dump(mode="json")
    record = JobRecord(id="one", kind="ablate_set", spec=spec, state="running", created=0.0)
    monkeypatch.setattr(asking, "running", lambda job: record)
    monkeypatch.setattr(type(engine()), "progress", lambda self, job: Progress(phase="ablating", done=2, total=12))

    def page():
        import streamlit as st

        from pages.parts import asking
        from pages.parts.frame import _job

        with st.sidebar:
            _job(asking.running("one"), ends="Cancel")
        asking.follow("one", "Ablating over 2 prompts")

    test = AppTest.from_function(page).run()
    assert not test.exception, test.exception
    assert [button.label for button in test.main.button] == ["Stop here", "Cancel"]
    assert [button.label for button in test.sidebar.button] == ["Cancel"]
    assert test.sidebar.caption[0].value.endswith("· Diffusion model**")
