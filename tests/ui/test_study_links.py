"""The ways from a study's figures: each page shows the very state that the figure was drawn from; and the slides."""

import json
import re
from urllib.parse import parse_qs

import pytest
from markupsafe import escape
from streamlit.testing.v1 import AppTest

from analysis.exhibits.story import story_of
from analysis.specs import STUDY_PARTS, ModelSpec, StudySpec
from analysis.study.gather import gather
from pages.parts.session import engine
from tests.helpers import tiny_llada
from tests.ui.helpers import app, shown_box, story_pieces, texts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished study of a tiny model in the app's own store."""
    spec = StudySpec(
        model=ModelSpec(source=tiny_llada(tmp_path_factory.mktemp("tiny") / "model", 0), device="cpu"),
        prompt="one day ben goes to the zoo .",
        gen_length=4,
        prompts=2,
        random_models=0,
        sparsities=(0.5,),
        seeds=(0,),
        samples=2,
        seq_len=32,
        tasks=("bundled_agreement", "bundled_story"),
        limit=2,
    )
    record = engine().wait(engine().submit("study", spec).id, 600)
    assert record.state == "done", record.reason
    return record


def named_in(test: AppTest, page: str) -> list[dict[str, list[str]]]:
    """Return the address parameters of each link to a page."""
    links = [element.proto for element in test.get("page_link") if element.proto.page == page]
    return [parse_qs(link.query_string.removeprefix("?")) for link in links]


def ways(test: AppTest) -> dict[str, dict[str, list[str]]]:
    """Return the address parameters of the page's links, by target page; the newest link per page."""
    links = [element.proto for element in test.get("page_link")]
    return {link.page: parse_qs(link.query_string.removeprefix("?")) for link in links if link.query_string}


def test_every_figure_opens_its_page_at_what_it_was_drawn_from(study):
    found = gather(study, engine())
    start = app("pages/start.py", *(f"fold_behind_{name}" for name in STUDY_PARTS), study=study.id)
    named = ways(start)
    jobs = {part.name: list(part.jobs.values()) for part in found.parts}
    runs = [one.prunings[0] for one in found.pruning.settings]
    assert named["explore"]["recording"] == jobs["watch"]
    assert named["evidence"]["set"] == jobs["sinks"]
    assert named["causes"]["ablation_job"] == jobs["causes"]
    assert named["sweep"]["sweep"] == jobs["pruning"]
    scored = next(one for one in found.pruning.settings if one.method == "sink-wanda")
    to_runs = named_in(start, "runs")
    assert any(sorted(query.get("run", [])) == sorted(runs) for query in to_runs)
    assert {"evaluation": list(scored.evaluations), "runs_view": ["Accuracy"]} in to_runs

    test = app("pages/explore.py", recording=jobs["watch"][0])
    assert shown_box(test).value == jobs["watch"][0]
    test = app("pages/evidence.py", set=jobs["sinks"][0])
    assert test.multiselect(key="sets_chosen").value == jobs["sinks"]
    assert (
        "In layer 0 of model, 100 % of sinks are " in texts(test)
        and test.segmented_control(key="evidence_view").value == "Where sinks are"
    )
    test = app("pages/causes.py", "ablate_set_more", ablation_job=jobs["causes"][0])
    spec = engine().job(jobs["causes"][0]).spec
    assert json.loads(test.json[0].value) == spec and "2 prompts, layers 0 to" in texts(test)
    test = app("pages/runs.py", run=runs)
    assert test.session_state["runs_chosen"] == runs
    test = app("pages/sweep.py", sweep=jobs["pruning"][0], sweep_view="Points")
    assert len(test.dataframe[-1].value) == len(runs)
    test = app("pages/runs.py", runs_view="Accuracy", evaluation=scored.evaluations[0])
    assert test.query_params["evaluation"] in (list(scored.evaluations), scored.evaluations[0])
    assert "Sink-Wanda" in texts(test) or "sink" in texts(test)


def test_a_link_shows_its_set_whatever_was_chosen_before(study):
    test = app("pages/evidence.py")
    test.multiselect(key="sets_chosen").set_value([]).run()
    assert "set" not in test.query_params
    (job,) = [job.id for job in engine().jobs("record_set")]
    test.query_params["set"] = job
    test.run()
    assert test.multiselect(key="sets_chosen").value == [job]


def test_an_ablation_that_is_not_here_is_said():
    assert "an ablation that is not in the store" in texts(app("pages/causes.py", ablation_job="0123456789ab"))


def test_slides_hold_the_answer_and_every_finding_and_no_controls(study):
    story = story_of(gather(study, engine()))
    test = app("pages/start.py", study=study.id, present="true", slide="2")
    pieces = story_pieces(test)
    for answer in story.answers:
        assert escape(answer.sentence) in pieces
    for finding in story.findings:
        assert escape(finding.title) in pieces and escape(finding.caveat) in pieces
    assert len(re.findall('<section class="slide[ "]', pieces)) == len(story.findings) + 2
    assert not list(test.main.button) and not test.get("download_button")
