"""The story of studies that support, refute and cannot tell: every sentence follows from their numbers."""

import re
from functools import cache

import numpy as np
import pytest

from analysis.figures.player import frame_beside, opening_frame, playback, unpacked
from analysis.figures.story import Story, findings_html, slides_html
from analysis.specs import SIZES
from analysis.study.findings import EXAMPLE, Continuation, Findings, MaskChange, read
from analysis.study.report import report_html
from analysis.study.story import playback_of, story_of
from tests.figures.test_player import track
from tests.study.helpers import Drawn, gathered
from tests.study.test_sentences import around

MOST_WORDS = 700
TEXT = ("Tom", "went", "to", "the", "shop", ".")


def causes(mean: float, spread: float) -> dict:
    """Return differences per prompt in all outcomes; the predictions move by `mean`."""
    return {("bundled", "divergence"): tuple(around(mean, spread)), ("bundled", "aligned"): tuple(around(-mean, 0.2))}


def told(drawn: Drawn, births: float, masked: float, changed: float, hidden: tuple[str, ...]) -> Findings:
    """Return the example with another model's numbers. births: of its sinks, as a multiple of the example's. masked:
    the share of each layer's sinks that are masked positions. changed: the share of the mask that the discount changes.
    """
    found, example = gathered(drawn), read(EXAMPLE)
    shown = []
    for figure in example.shown:
        rows = [dict(row) for row in figure.table]
        for row in rows:
            measure = row.get("measure") if row["model"] == "bundled" else None
            if measure == "Share of the layer's sinks" and row["kind"] == "[MASK]":
                row |= {"value": masked, "low": 0.9 * masked, "high": min(1.0, 1.1 * masked)}
            if measure == "Births a step" and row.get("of") == "observed":
                row |= {end: births * row[end] for end in ("value", "low", "high")}
        shown.append(figure.model_copy(update={"table": tuple(rows)}))
    change = MaskChange(
        method="sink-wanda",
        against="wanda-noised",
        sparsity=0.5,
        seeds=(0, 1),
        changed=(changed, changed),
        floor=(0.01,),
        chance=0.5,
    )
    text = Continuation(model="bundled", prompt="One day", untouched=TEXT, hidden=hidden, matched=TEXT)
    return found.model_copy(
        update={
            "shown": tuple(shown),
            "playback": example.playback,
            "mask_changes": (change,),
            "continuations": (text,),
        }
    )


@cache
def supports() -> Findings:
    drawn = Drawn({"sink-wanda": 0.12}, causes=causes(0.05, 0.01), untrained=0.001)
    return told(drawn, births=1.0, masked=0.9, changed=0.02, hidden=("Sue", "sat", "."))


@cache
def refutes() -> Findings:
    drawn = Drawn({"sink-wanda": -0.12}, causes=causes(0.0, 0.001), untrained=0.001)
    return told(drawn, births=0.01, masked=0.1, changed=0.0001, hidden=TEXT)


@cache
def cannot_tell() -> Findings:
    drawn = Drawn({"sink-wanda": 0.2}, size=40, causes=causes(0.02, 0.1))
    return told(drawn, births=0.25, masked=0.5, changed=0.01, hidden=("Tom", "sat", "."))


FIXTURES = {"supports": supports, "refutes": refutes, "cannot tell": cannot_tell}
TITLES = {
    "supports": {
        "place": "the sinks are masked positions",
        "movement": r"^Sinks move, but mostly stay: [\d.]+ appear per step and layer, [\d.]+ by writing alone",
        "hidden": r"changes the predictions more than hiding as many other tokens, and than others with as much",
        "masks": "2 times what another calibration seed changes",
        "accuracy": r"The discount raises accuracy at 50 % and 70 %$",
    },
    "refutes": {
        "place": r"^In \d of 8 layers most sinks are (words|punctuation)",
        "movement": "fewer than the [\\d.]+ that writing alone explains",
        "hidden": "changes about as much as hiding as many other tokens",
        "masks": "1/100 of what another calibration seed changes",
        "accuracy": r"The discount lowers accuracy at 50 % and 70 %$",
    },
    "cannot tell": {
        "movement": r"per step and layer; only in layer 7 more than writing alone explains",
        "hidden": "This study cannot tell whether hiding the sinks changes more",
        "masks": "about what another calibration seed changes",
        "accuracy": "This study cannot tell whether the discount changes accuracy",
    },
}
ANSWERS = {
    "supports": (
        r"^Yes\. Hiding",
        r"^Yes\. Counting sinks less \(discount\) when removing weights \(pruning\) changes accuracy by \+",
    ),
    "refutes": (r"^No\. ", r"^No, it hurts\. Counting sinks less .* accuracy by −"),
    "cannot tell": (r"^This study cannot tell whether", r"^This study cannot tell\. .* It would have detected ±"),
}


def words(story: Story) -> int:
    """Count the words above the expanders."""
    parts = [story.question, story.what, story.about, story.thin, story.picture_told]
    parts += [answer.question + " " + answer.words for answer in story.answers]
    for finding in story.findings:
        parts += [finding.title, *finding.beats, finding.caveat]
    return len(" ".join(parts).split())


@pytest.mark.parametrize("name", FIXTURES)
def test_titles_and_answers_follow_the_numbers(name):
    story = story_of(FIXTURES[name]())
    titles = {finding.name: finding.title for finding in story.findings}
    assert list(titles) == ["sink", "place", "movement", "hidden", "masks", "accuracy"]
    for finding, expected in TITLES[name].items():
        assert re.search(expected, titles[finding]), titles[finding]
    for answer, expected in zip(story.answers, ANSWERS[name], strict=True):
        assert re.search(expected, answer.words), answer.words
    assert words(story) <= MOST_WORDS
    html = findings_html(story.findings) + slides_html(story)
    assert html.count('<section class="slide') == 8
    assert "nan" not in html.lower().replace("explanan", "") and "None" not in html
    assert report_html(FIXTURES[name]())


def test_a_small_study_says_so_first_and_a_large_one_does_not():
    small, large = supports(), supports()
    assert "30 prompts, 6 calibration seeds" in story_of(small).thin
    assert "The standard size has 50 prompts, 14 calibration seeds and all items." in story_of(small).closing
    planned = SIZES["standard"].values
    spec = {**large.spec, "prompts": planned["prompts"], "seeds": planned["seeds"]}
    assert story_of(large.model_copy(update={"spec": spec})).thin == ""
    assert "under way" in story_of(large.model_copy(update={"state": "running"})).thin


def test_what_the_model_s_sinks_draw_is_told_beside_random_weights():
    assert re.search(
        r"^One step of one text: a masked position draws [\d.]+ × an even split\. This model has sinks: "
        r"over 30 prompts masked positions draw [\d.]+ × an even split; with random weights at "
        r"most [\d.]+ ×\.$",
        story_of(supports()).picture_told,
    )
    shown = []
    for figure in supports().shown:
        rows = [dict(row) for row in figure.table]
        for row in rows:
            if row.get("measure") == "Corrected share of the sinks" and row["weights"] == "trained":
                row |= {"value": 1.1, "low": 1.0, "high": 1.2}
        shown.append(figure.model_copy(update={"table": tuple(rows)}))
    weak = supports().model_copy(update={"shown": tuple(shown)})
    assert "This model has no clear sinks: over 30 prompts" in story_of(weak).picture_told


def test_every_slide_of_a_finding_has_a_takeaway_and_the_last_one_has_all_in_a_row_each():
    for study in FIXTURES.values():
        story = story_of(study())
        assert all(re.search(r"\d", told.takeaway) for told in story.findings)
        last = slides_html(story).split('<section class="slide')[-1]
        assert last.count("<tr>") == 1 + len(story.findings)
        assert all(f"{answer.question} {answer.short}" in last for answer in story.answers)


def test_what_it_would_take_to_tell_is_in_the_last_words():
    assert any("To show a difference of 2 points" in line for line in story_of(cannot_tell()).closing)


def test_a_study_of_an_earlier_version_is_told_without_what_it_lacks():
    older = supports().model_copy(update={"mask_changes": (), "continuations": (), "explorer": "", "playback": None})
    story = story_of(older)
    assert [finding.name for finding in story.findings] == ["place", "movement", "hidden", "accuracy"]
    assert "sinkscope-explorer" not in report_html(older) and playback_of(older) is None
    empty = older.model_copy(update={"shown": (), "causes": (), "pruning": None, "sayings": ()})
    assert story_of(empty).findings == () and story_of(empty).answers == ()


def test_hostile_text_stays_text():
    hostile = "</script><img src=x onerror=alert(1)>"
    text = Continuation(
        model="bundled", prompt=hostile, untouched=(hostile,), hidden=(hostile, "a"), matched=(hostile,)
    )
    html = report_html(supports().model_copy(update={"continuations": (text,), "command": hostile}))
    assert "<img src=x" not in html and "&lt;img src=x" in html


def test_the_player_opens_where_both_recordings_have_sinks():
    sinks = np.zeros((12, 9), bool)
    sinks[[3, 11], 4] = True
    none = np.zeros((6, 9), bool)
    none[:4, 0] = True
    mass = np.ones((12, 9))
    mass[11, 4] = 9.0  # stronger, where the second one has none
    sent = playback([track(12, 9, sinks=sinks, mass=mass), track(6, 9, sinks=none, mass=np.ones((6, 9)))])
    tracks = [unpacked(each) for each in sent["tracks"]]
    assert opening_frame(tracks) == 3 and opening_frame(tracks[:1]) == 11
    assert frame_beside(12, 12, 6) == 6 and frame_beside(3, 12, 6) == 2
    assert np.array_equal(tracks[0].sinks[:12], sinks)
