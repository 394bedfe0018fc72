"""The part of the page Evidence that tests what papers claim: empty, running, failed and done."""

import re
import time
from datetime import datetime
from typing import Literal

import pytest

from analysis.claims.evidence import EXAMPLE, read
from analysis.engine import JobRecord
from analysis.engine.studies import claim_children, claims_command, new_claims
from analysis.errors import UserError
from analysis.jobs import known_key
from analysis.specs import CLAIMS, ModelSpec
from pages.evidence import CLAIMS as PART
from pages.parts import claims
from pages.parts.session import engine
from tests.claims.helpers import PROMPTS, found_for, measured_with, without
from tests.ui.helpers import app, charts, shown_box, texts


def page(**query: str):
    return app("pages/evidence.py", evidence_view=PART, **query)


@pytest.fixture
def built(monkeypatch):
    """A run whose verdicts are of numbers built to satisfy every claim, without prunings."""
    from analysis.claims.verdicts import claim_verdicts

    found = without(found_for(CLAIMS["small-values"], 1), settings=())
    monkeypatch.setattr(
        claims, "verdicts_of", lambda record, model: claim_verdicts(list(CLAIMS.values()), found, model)
    )


def test_before_the_first_run_the_shipped_one_is_shown_what_another_takes_is_said_and_nothing_starts():
    test = page()
    said = texts(test)
    shipped = read(EXAMPLE)
    assert f"##### {len(CLAIMS)} claims tested on the diffusion model: " in said and "About" in said
    assert f"Shipped result, {datetime.fromisoformat(shipped.created):%d %b %Y}" in said
    assert shipped.command in [code.value for code in test.code]
    assert len(charts(test)) == 1
    name = next(iter(shipped.evidence))
    shown_box(test, "Claim in detail").set_value(name).run()
    assert test.query_params["claim"] == name and len(charts(test)) == 2
    assert test.button(key="claims_start").label == f"Test {len(CLAIMS)} claims"
    assert not engine().jobs("claims") and not engine().jobs("record_set")


def test_a_run_is_asked_by_its_button_and_a_refusal_is_said(monkeypatch):
    asked = []

    def submit(kind, spec):
        asked.append((kind, spec))
        raise UserError("not today")

    monkeypatch.setattr("pages.parts.asking.submit", submit)
    test = page()
    test.segmented_control(key="claims_size").set_value("standard").run()
    test.button(key="claims_start").click().run()
    assert asked == [("claims", new_claims(ModelSpec(source="bundled"), "standard"))]
    assert "not today" in texts(test)


def test_a_finished_run_shows_every_claim_beside_its_null_and_one_in_detail(built):
    record = _record("done", count=31)
    test = page(claims=record.id)
    overview = test.session_state["exhibits"]["claims_overview"]
    assert sorted(overview.table["claim"]) == sorted(claim.sentence for claim in CLAIMS.values())
    assert "LLaDA-8B" in " ".join(overview.table["published"])
    drawn = [place for trace in overview.figure.data for place in trace.y]
    untold = overview.table["estimate"].eq("").sum()
    assert untold and len(drawn) == len(CLAIMS) - untold, "one row a claim that has numbers"
    said = texts(test)
    assert "claims tested on the diffusion model: " in said and "Value norms" not in said
    assert CLAIMS["discount-helps"].sentence in said.replace("\\", "") and "No pruned model was scored" in said
    assert not test.button(key="claims_start").disabled
    shown_box(test, "Claim in detail").set_value("small-values").run()
    assert "Source: arXiv 2410" in texts(test) and "small-values" in test.query_params["claim"]
    test = page(claims=record.id, claim="discount-helps")
    assert texts(test).count("No pruned model was scored") == 2


def test_a_run_that_failed_says_why_and_offers_to_go_on(built):
    record = _record("failed", count=32, reason="1 of 4 parts of it failed. The first: no room.")
    test = page(claims=record.id)
    assert "no room" in texts(test) and test.button(key=f"restart_run of the claims_{record.id}")
    assert len(shown_box(test, "Run").options) == len(engine().jobs("claims")) + 1
    shown_box(test, "Run").set_value("shipped").run()
    assert "Shipped result, " in texts(test) and "no room" not in texts(test)
    assert test.button(key="claims_start") and test.query_params["claims"] == "shipped"


def test_a_run_whose_measurements_are_stored_ends_without_a_worker_and_is_told():
    spec = new_claims(ModelSpec(source="bundled"), only=("small-values",), count=PROMPTS)
    [child] = claim_children(spec)["inside"]
    key = known_key(child.kind, child.spec)
    assert key is not None
    engine().store.add_result(key, dict(measured_with(-0.4)), None)
    record = engine().submit("claims", spec)
    while not record.ended:
        time.sleep(0.05)
        record = engine().job(record.id) or record
    assert record.state == "done" and [part.state for part in engine().parts(record)].count("done") == 1
    assert engine().submit("claims", spec).id == record.id, "the same question is answered by reading"
    test = page(claims=record.id)
    assert test.session_state["exhibits"]["claims_overview"].table["verdict"].tolist() == ["holds"]
    assert "1 claim tested on the diffusion model: 1 holds" in texts(test)
    assert any(f"{PROMPTS} prompts, 48 new tokens" in title for title in shown_box(test, "Run").options)
    assert claims_command(spec) in [code.value for code in test.code]


def test_texts_too_long_for_the_model_are_refused_with_the_length_that_fits():
    test = page()
    test.number_input(key="claims_gen_length").set_value(4000).run()
    said = texts(test)
    fitting = int(re.search(r"takes \d+ in all. Choose at most (\d+) new tokens", said)[1])
    assert "4,000 new ones do not fit" in said and test.button(key="claims_start").disabled
    assert "of one worker's time" not in said, "what is refused costs nothing"
    test.number_input(key="claims_gen_length").set_value(fitting).run()
    said = texts(test)
    assert "do not fit" not in said and "of one worker's time" in said
    assert not test.button(key="claims_start").disabled


def test_an_unknown_run_in_the_address_is_named():
    assert "a run of the claims that is not in the store" in texts(page(claims="nothing"))


def _record(state: Literal["done", "failed"], count: int, reason: str = "") -> JobRecord:
    spec = new_claims(ModelSpec(source="bundled"), count=count)
    record = JobRecord(
        id=f"claims{count}",
        kind="claims",
        spec=spec.model_dump(mode="json"),
        created=time.time(),
        state=state,
        reason=reason,
        summary={"children": {}, "made": []},
    )
    engine()._job_store.save(record)
    return record
