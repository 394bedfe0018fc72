"""The story of studies that support, refute and cannot tell: every sentence follows from their numbers."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from math import exp

import numpy as np
import pytest

from analysis.evaluation.ablation_effects import COUNT, MASKED, MASS, Change
from analysis.exhibits import story_parts
from analysis.exhibits.story import playback_of, story_of
from analysis.exhibits.story_answers import discount_at
from analysis.exhibits.story_parts import Measured, Price
from analysis.exhibits.story_text import early_told, halves_told, predictions_told
from analysis.exhibits.study_report import report_html
from analysis.figures.story import Answer, Story, Told, findings_html, slides_html
from analysis.recording.playback import UNDECIDED, frame_beside, opening_frame, playback, unpacked
from analysis.recording.set_file import ALL_LAYERS
from analysis.recording.set_measures import KIND_MEASURES
from analysis.sinks.movement import MOVEMENT_NULLS
from analysis.specs import SIZES, DiscountParams, PruneSpec
from analysis.specs.study import WITH_SHAMS
from analysis.statistics.decisions import BETTER, CANNOT_TELL, EQUIVALENT, WAITING, WORSE
from analysis.statistics.differences import Difference
from analysis.study.findings import EXAMPLE, Cause, Continuation, Findings, MaskChange, read
from analysis.words import glued, percent
from tests.figures.test_player import track
from tests.study.helpers import Drawn, gathered
from tests.study.test_sentences import around

MOST_WORDS = 700
TEXT = ("Tom", "went", "to", "the", "shop", ".")


def causes(mean: float, spread: float) -> dict:
    """Return differences per prompt in all outcomes; the predictions move by `mean`, perplexity by more."""
    return {
        ("bundled", "divergence"): tuple(around(mean, spread)),
        ("bundled", "aligned"): tuple(around(-mean, 0.2)),
        ("bundled", "nll"): tuple(around(4 * mean, 4 * max(spread, 0.05))),
    }


def rows_of(found: Findings) -> dict[str, list[dict]]:
    """The tables of a study, to be changed."""
    return {name: [dict(row) for row in rows] for name, rows in found.tables.items()}


def told(drawn: Drawn, births: float, masked: float, changed: float, hidden: tuple[str, ...]) -> Findings:
    """Return the example with another model's numbers. births: of its sinks, as a multiple of the example's. masked:
    the share of each layer's sinks that are masked positions. changed: the share of the mask that the discount changes.
    """
    found, example = gathered(drawn), read(EXAMPLE)
    tables = rows_of(example)
    for rows in tables.values():
        for row in rows:
            measure = row.get("measure") if row["model"] == "bundled" else None
            if measure == "Share of the layer's sinks" and row["kind"] == "[MASK]":
                row |= {"value": masked, "low": 0.9 * masked, "high": min(1.0, 1.1 * masked)}
            if measure == "Births per step" and row.get("of") == "observed":
                row |= {end: births * row[end] for end in ("value", "low", "high")}
    change = MaskChange(
        method="sink-wanda",
        against="wanda-noised",
        sparsity=0.5,
        seeds=(0, 1),
        changed=(changed, changed),
        floor=(0.01,),
        chance=0.5,
    )
    text = Continuation(
        model="bundled", prompt="One day", number=1, median_of=30, untouched=TEXT, hidden=hidden, matched=TEXT
    )
    return found.model_copy(
        update={
            "tables": tables,
            "prompts": example.prompts,
            "spec": {**found.spec, "reference": example.spec["reference"]},
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
STUDIES: dict[str, Callable[[], Findings]] = {**FIXTURES, "example": lambda: read(EXAMPLE)}


@cache
def story_told(name: str) -> Story:
    return story_of(STUDIES[name]())


TITLES = {
    "supports": {
        "place": r"^In the diffusion model's layers 0–7, 90 % \[81, 99\] of sinks are masked positions; of all tokens, "
        "33 %$",
        "movement": r"^The diffusion model's sinks move, but less than untrained: 0\.29 new per layer and step against "
        r"1\.67$",
        "hidden": r"^In the diffusion model, hiding sinks raises perplexity from 2\.7 to 3\.3, hiding as many random "
        r"tokens to 2\.7$",
        "accuracy": r"The discount raises accuracy at 50 % and 70 %$",
    },
    "refutes": {
        "place": r"^In \d of 8 layers most sinks are (words|punctuation)",
        "movement": r"^0\.0029 new sinks per layer and step, fewer than writing tokens explains \(0\.082\)$",
        "hidden": "changes about as much as hiding as many random tokens",
        "masks": r"^With 50 % removed, the discount chooses 0\.010 % of weights differently; another .* 1\.0 %$",
        "accuracy": r"The discount lowers accuracy at 50 % and 70 %$",
    },
    "cannot tell": {
        "movement": r"^0\.073 new sinks per layer and step, not clearly more than writing tokens explains \(0\.081\)$",
        "hidden": "This study cannot tell whether hiding the sinks changes more",
        "accuracy": "This study cannot tell whether the discount changes accuracy",
    },
}
ANSWERS = {
    "supports": (
        "^Yes: hiding sinks raises perplexity from 2\\.7 to 3\\.3, hiding as many random tokens to "
        r"2\.7\. (?:The median .*)?Perplexity .* nothing 2\.7, sinks .* 3\.3, .* Against as many random tokens: "
        r"\+22 % \[",
        r"^Yes: \+12\.1 points of accuracy at 50 %\. Accuracy \(.*: dense .unpruned. 90\.0 %, pruned, no discount "
        r"69\.5 %, pruned, with discount 81\.6 %\. Change on 400 items: \+12\.1 points \[\+9",
    ),
    "refutes": (
        r"^No: hiding them changes predictions about as much",
        r"^No, it hurts: −1\d\.\d points of accuracy at 50 %\. .* Change on 400 items: −1\d\.\d points \[−",
    ),
    "cannot tell": (
        r"^This study cannot tell whether",
        r"^This study cannot tell\. .* Change on 400 items: \+20 points \[−10, \+50\] at 50 %; .*"
        r" It would have detected "
        r"nothing below 25 points\.$",
    ),
}
MEANINGS = {
    "supports": {
        "place": "would miss most sinks of every layer",
        "movement": "^A list of sinks goes stale: a sink lasts 10 of 48 steps in the median layer",
        "hidden": "^In the diffusion model, when tokens are dropped, spare the sinks: perplexity rises less",
        "accuracy": "switch the discount on",
    },
    "refutes": {
        "place": r"would miss most sinks in 4 of 8 layers",
        "movement": "^Looking for sinks once per text is enough",
        "hidden": "sinks need no special care",
        "accuracy": "leave the discount off",
    },
    "cannot tell": {
        "place": r"would miss most sinks in 4 of 8 layers",
        "movement": "^A list of sinks goes stale: a sink lasts 10 of 48 steps in the median layer",
        "hidden": "no ground to spare the sinks, nor to drop them",
        "accuracy": "no reason to switch the discount on, nor off",
    },
}


def with_control(cause: Cause, value: float, share: float = 0.1) -> tuple[Change, Change]:
    """Return what the sinks of a cause change, and a control that changes so much of the text and draws so much."""
    return cause.sides[0], cause.sides[1]._replace(value=value, share=share)


def levels_drawn(hidden: Told, group: int) -> list[tuple[str, str]]:
    """Return the rows of one model in the figures on hidden sinks: what is hidden, and its numbers."""
    drawn = f"{hidden.figure}{hidden.folded}".replace("\u00a0", " ")
    panel = drawn.split('class="panel"')[1 + group]
    rows = re.findall(r'class="label">([^<]+)</span>.*?class="told">(.*?)</div>', panel)
    return [(label, re.sub("<[^>]*>", "", told)) for label, told in rows]


def words(story: Story) -> int:
    """Count the words above the expanders."""
    parts = [story.question, story.what, story.about, story.thin, story.picture_told]
    parts += [answer.question + " " + answer.words for answer in story.answers]
    for finding in story.findings:
        parts += [finding.title, *finding.beats, finding.meaning, finding.caveat]
    return len(re.findall(r"\S*[^\W\d_]\S*", " ".join(parts)))


@pytest.mark.parametrize("name", FIXTURES)
def test_titles_and_answers_follow_the_numbers(name):
    story = story_told(name)
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


def test_other_pages_are_told_of_the_discount_only_what_a_study_can_tell():
    asked = {f"{at} %": PruneSpec(method="sink-wanda", sparsity=at / 100) for at in (50, 60, 70)}
    assert set(discount_at(read(EXAMPLE), asked)) == {"50 %", "70 %"}, "not at a sparsity that it does not have"
    assert discount_at(FIXTURES["supports"](), asked) and not discount_at(FIXTURES["cannot tell"](), asked)
    weak = PruneSpec(method="sink-wanda", discount=DiscountParams(discount_strength=0.5))
    assert not discount_at(read(EXAMPLE), {"50 %": weak})


def test_a_small_study_says_so_first_and_a_large_one_does_not():
    large = supports()
    assert "30 prompts, 6 calibration seeds" in story_told("supports").thin
    assert "The standard size has 50 prompts, 14 calibration seeds and all items." in story_told("supports").closing
    planned = SIZES["standard"].values
    spec = {**large.spec, "prompts": planned["prompts"], "seeds": planned["seeds"]}
    assert story_of(large.model_copy(update={"spec": spec})).thin == ""
    assert "under way" in story_of(large.model_copy(update={"state": "running"})).thin


def test_what_the_model_s_sinks_draw_is_told_beside_random_weights():
    assert "One text at its strongest step (40); orange: sinks (above mean + 2 std)." in story_told("supports").picture
    assert re.search(
        r"^One step of one text: a masked position draws [\d.]+ × an even split\. Averaged over layers, this model "
        r"has sinks: 2\.5 × an even split \(untrained models: 1\.8 ×\), "
        r"[\d.]+ % masked \(all tokens: [\d.]+ %\)\.$",
        story_told("supports").picture_told,
    )
    tables = rows_of(supports())
    for row in tables["layers"]:
        if row["measure"] == "Corrected share of the sinks" and row["weights"] == "trained":
            row |= {"value": 1.1, "low": 1.0, "high": 1.2}
    weak = supports().model_copy(update={"tables": tables})
    assert "this model has no clear sinks: tokens above" in story_of(weak).picture_told


def test_every_slide_of_a_finding_has_a_takeaway_and_the_last_one_has_few_rows():
    for name in FIXTURES:
        story = story_told(name)
        assert all(re.search(r"\d", told.takeaway) for told in story.findings)
        last = slides_html(story).split('<section class="slide')[-1]
        assert last.count("<tr>") == 1 + sum(len(told.summaries) for told in story.findings) <= 7
        first = slides_html(story).split('<section class="slide')[1]
        assert story.made in first
        for answer in story.answers:
            assert str(answer.figure) in first and glued(answer.levels) in first and glued(answer.sentence) in first
        assert story.recipe == (
            "Wanda scores weights by size and inputs on a calibration sample; the discount (Sink-Wanda, λ = 1) leaves "
            "sinks out."
        )
        assert glued(story.recipe) in first and all("4.7 million parameters" in slide for slide in (first, last))
        bold = re.findall("<p>[^<]+<b>(.+?)</b>", first.partition("<aside")[0])
        assert bold == [glued(answer.lead) for answer in story.answers]


@pytest.mark.parametrize("name", FIXTURES)
def test_a_finding_says_what_follows_from_it_in_practice(name):
    meanings = {finding.name: finding.meaning for finding in story_told(name).findings if finding.meaning}
    assert meanings.keys() == MEANINGS[name].keys()
    for about, meaning in meanings.items():
        assert re.search(MEANINGS[name][about], meaning), meaning


@pytest.mark.parametrize("name", STUDIES)
def test_the_answer_tells_perplexity_and_points_and_each_model_has_one_name(name):
    story = story_told(name)
    told = " ".join(answer.words for answer in story.answers)
    assert "Perplexity" in told and "Accuracy" in told
    assert ("Nats: KL divergence." in story.reading) == ("nats" in told and "KL" not in told)
    assert story.reading.startswith("Intervals: 95 %.")
    assert ("Margin: 2 points, set beforehand." in story.reading) == ("by less than 2 points" in told)
    assert story.about.endswith("of stories (4.7 million parameters) and its left-to-right twin.")
    others = [*(line for finding in story.findings for line in (finding.title, *finding.beats, finding.takeaway))]
    assert not re.search("bundled|[Aa]utoregressive|nats", " ".join(others))
    assert "Left-to-right twin" in findings_html(story.findings)
    played = playback_of(STUDIES[name]())
    assert [track["name"] for track in played["tracks"]] == ["Diffusion model", "Left-to-right twin"]


def test_where_sinks_raise_perplexity_all_controls_are_told():
    study = read(EXAMPLE)

    def answered(value: float) -> Answer:
        """Return the answer where perplexity differs by so many nats per token at equal attention."""
        effect = Difference(value=value, low=value - 0.1, high=value + 0.1, n=30, clusters=30)
        causes = [
            one.model_copy(update={"effect": effect, "sides": with_control(one, one.sides[0].value - value)})
            if (one.model, one.measure, one.control) == ("bundled", "nll", MASS)
            else one
            for one in study.causes
        ]
        (answer, _) = story_of(study.model_copy(update={"causes": tuple(causes)})).answers
        return answer

    told = answered(0.2)
    assert told.lead == (
        "Yes: hiding sinks raises perplexity from 2.4 to 3.8, hiding random tokens of equal attention to 3.1."
    )
    assert told.levels.endswith(": nothing 2.4, sinks (3.1 per step) 3.8, random, equal attention (7.5) 3.1.")
    assert told.sentence == ("At equal attention: +22 % [+11, +35]; texts end 24 tokens earlier [16, 31].")
    told = answered(-0.2)
    per_token = (
        "Yes, token for token: hiding sinks raises perplexity from 2.4 to 3.8, hiding other masked positions to 2.8."
    )
    assert told.lead == f"{per_token} At equal attention it hurts less."
    assert told.sentence.endswith(" At equal attention: −18 % [−26, −10]; texts end 24 tokens earlier [16, 31].")
    told = answered(0.05)
    assert told.lead == per_token
    assert " At equal attention: +5 % [−5, +16], not significant; texts end" in told.sentence
    assert ", random, equal attention (7.5) 3.6." in told.levels
    (hidden,) = (finding for finding in story_told("example").findings if finding.name == "hidden")
    assert hidden.title == (
        "In the diffusion model, hiding sinks raises perplexity from 2.4 to 3.8, hiding other masked positions to 2.8"
    )
    own = [one for one in study.causes if one.model == "bundled"]
    assert "Per unit of attention, perplexity: +37 % [+11, +69]." in hidden.notes
    assert "A difference of 50 % of perplexity from random tokens of equal attention would have been detected." in (
        hidden.notes
    )
    assert (
        "With sinks hidden, texts end at token 21 (nothing hidden: 44), earlier than with any control (44 to 45)."
        in hidden.notes
    )
    assert hidden.beats == (
        "Against random tokens of equal attention (4.5): −15 % [−31, +4], not significant; texts end at token 21, 24 "
        "earlier [16, 31] (untouched: 44).",
    )
    assert (
        "Random weights, perplexity against as many random tokens: 0 % [−2, +2] in the diffusion model; +47 % [+37, "
        "+57] in the left-to-right twin (trained +2 % [−6, +11])."
    ) in hidden.notes
    assert levels_drawn(hidden, 0) == [
        ("nothing", "2.4"),
        ("sinks", "3.8"),
        ("other masked positions", "2.8 +36 % [+14, +63]"),
        ("as many random tokens (62 % masked)", "2.6 +48 % [+23, +78]"),
        ("random tokens of equal attention", "4.5 −15 % [−31, +4]"),
    ], "in the order of the first screen"
    assert levels_drawn(hidden, 1)[3:] == [
        ("sinks (15 prompts with a match)", "1.9"),
        ("random, equal attention (same 15)", "2.7 −28 % [−48, −2]"),
    ], "a control that some prompts lack is beside the sinks of those that have it"
    sinks = next(one for one in own if (one.measure, one.control) == ("nll", COUNT)).sides[0]
    whisker = re.findall(r'class="whisker" style="left:([\d.]+)%;width:calc\(([\d.]+)%', hidden.figure)[0]
    bar = re.findall(r'class="bar" style="left:0.00%;width:calc\(([\d.]+)%', hidden.figure)[1]
    ends = [float(end) * exp(sinks.value) / float(bar) for end in whisker]
    assert ends == pytest.approx([exp(sinks.low), exp(sinks.high)], abs=1e-2), "of its own"
    assert hidden.meaning == (
        "In the diffusion model, hiding sinks costs more than hiding other masked positions; at equal attention, "
        "perplexity does not differ significantly, but texts end earlier."
    )
    assert hidden.takeaway == (
        "At equal attention, perplexity does not differ significantly; texts end at token 21, 24 earlier [16, 31] "
        "(untouched: 44)."
    )
    assert {
        "Left-to-right twin: +2 % [−6, +11] against as many random tokens; −28 % [−48, −2] at equal attention (15 "
        "prompts with a match).",
        "Of random tokens of equal attention (7.5 per step, sinks: 3.1) only 35 % are masked, and other masked "
        "positions draw less attention than sinks.",
    } <= set(hidden.notes), "whoever speaks has what the slide leaves out"
    of_count = [one for one in study.causes if one.control not in (MASKED, MASS)]
    without = study.model_copy(update={"causes": tuple(of_count)})
    (hidden,) = (finding for finding in story_of(without).findings if finding.name == "hidden")
    assert hidden.title.endswith(" to 3.8, hiding as many random tokens to 2.6")


def test_other_masked_positions_are_a_control_where_the_study_has_them():
    study = read(EXAMPLE)

    def masked(value: float) -> Story:
        """Return the story where perplexity differs by so many nats per token from other masked positions."""
        causes = [one for one in study.causes if one.control != MASKED]
        like = next(one for one in causes if (one.model, one.measure, one.control) == ("bundled", "nll", COUNT))
        effect = Difference(value=value, low=value - 0.08, high=value + 0.08, n=30, clusters=30)
        sides = with_control(like, like.sides[0].value - value, share=0.5 * like.sides[0].share)
        causes.append(like.model_copy(update={"control": MASKED, "effect": effect, "sides": sides}))
        return story_of(study.model_copy(update={"causes": tuple(causes)}))

    story = masked(0.31)
    (hidden,) = (finding for finding in story.findings if finding.name == "hidden")
    assert ("other masked positions", "2.8 +36 % [+26, +48]") in levels_drawn(hidden, 0)
    assert "any kind" not in hidden.caveat and any("masked positions draw less" in note for note in hidden.notes)
    assert story.answers[0].lead.startswith("Yes, token for token: ")
    assert "hiding other masked positions to 2.8" in hidden.title, "the strictest of the controls that the sinks exceed"
    assert words(story) <= MOST_WORDS
    story = masked(0.02)
    assert story.answers[0].lead == (
        "It depends: hiding sinks raises perplexity from 2.4 to 3.8, hiding as many random tokens to 2.6. Against "
        "other masked positions and at equal attention not significantly."
    )
    assert "Against other masked positions: +2 % [−6, +11], not significant. " in story.answers[0].sentence
    without = study.model_copy(update={"causes": tuple(one for one in study.causes if one.control != MASKED)})
    (hidden,) = (finding for finding in story_of(without).findings if finding.name == "hidden")
    assert "Random tokens may be of any kind; Causes compares with other masked positions." in hidden.caveat


def test_a_masked_position_is_called_so_and_noise_by_its_token_in_the_picture_of_a_sink():
    study = read(EXAMPLE)
    first, *others = study.playback["tracks"]

    def picture(mask: int) -> str:
        names = ["<|mask|>" if place == first["mask"] else name for place, name in enumerate(first["names"])]
        playback = {**study.playback, "tracks": [{**first, "names": names, "mask": mask}, *others]}
        return story_of(study.model_copy(update={"playback": playback})).picture

    assert picture(first["mask"]).count("<small>[MASK]</small>") == 2 and "&lt;|mask|&gt;" not in picture(first["mask"])
    assert picture(-1).count("<small>&lt;|mask|&gt;</small>") == 2 and "[MASK]" not in picture(-1)


def test_predictions_at_equal_attention_are_told_once_with_both_numbers():
    study = read(EXAMPLE)
    own = [one for one in study.causes if one.model == "bundled"]
    overall = (
        "Hiding sinks shifts predictions less than hiding random tokens of equal attention (KL difference −0.041 "
        "[−0.062, −0.019]); in the first half of the steps, more (+0.103 [+0.079, +0.127])."
    )
    early = (
        "In the first half of the steps hiding sinks shifts predictions more than hiding other masked positions of "
        "equal attention (KL +0.104 [+0.080, +0.128])."
    )
    assert (predictions_told(own, 0.01), early_told(own)) == (overall, early)
    assert halves_told(own) == (
        "Shift of predictions at equal attention: KL difference +0.103 [+0.079, +0.127] in the first half of the "
        "steps, −0.184 [−0.219, −0.150] in the second."
    )
    assert early_told([one for one in own if one.control != MASKED]) == ""
    (hidden,) = (finding for finding in story_told("example").findings if finding.name == "hidden")
    assert {overall, early, halves_told(own)} <= set(hidden.notes)
    assert hidden.caveat == (
        "No control matches the sinks in both masking and attention. Texts differ in length; over the tokens that all "
        "reach: +38 % [+15, +65] against other masked positions and −16 % [−34, +7] at equal attention."
    )

    def other(text: float, predictions: float, wide: float = 0.004) -> str:
        """Return it where perplexity and predictions differ by so much."""
        values = {("nll", MASS): (text, 0.05), ("divergence", MASS): (predictions, wide)}
        changed = []
        for one in own:
            value, half = values.get((one.measure, one.control), (0.0, 0.0))
            p = 0.001 if abs(value) > half else 0.5
            effect = replace(one.effect, value=value, low=value - half, high=value + half, p=p, p_holm=p)
            effect = replace(effect, cluster_variance=(half / 3) ** 2, seed_variance=None)
            changed.append(one.model_copy(update={"effect": effect, "timing": None}) if half else one)
        return predictions_told(changed, 0.01).removeprefix("At equal attention ").partition(" (KL ")[0]

    assert other(0.2, 0.02) == "perplexity is higher, and predictions shift more"
    assert other(0.2, 0.0) == "perplexity is higher, but predictions shift about as much"
    assert other(0.0, 0.02) == "perplexity does not differ significantly, but predictions shift more"
    assert other(-0.2, 0.02) == "perplexity is lower, but predictions shift more"
    assert other(0.0, 0.008, 0.012) == "neither perplexity nor predictions differ significantly"
    assert other(0.2, 0.008, 0.012) == "perplexity is higher, but predictions do not differ significantly"
    endings = {
        "supports": "perplexity is higher, and predictions shift more (KL ",
        "refutes": "perplexity does not differ significantly, and predictions shift about as much (KL ",
        "cannot tell": "neither perplexity nor predictions differ significantly (KL ",
    }
    for name, ending in endings.items():
        (hidden,) = (finding for finding in story_told(name).findings if finding.name == "hidden")
        assert any(ending in note for note in hidden.notes)


def test_the_kinds_told_are_those_more_common_than_among_all_tokens():
    study = read(EXAMPLE)
    (place,) = (finding for finding in story_told("example").findings if finding.name == "place")
    assert place.beats[0].endswith("and the first token in layer 4.")
    as_common = "none in layers 6–7 (words: as common with other weights)."
    assert any(note.endswith(as_common) for note in place.notes), "words are as common untrained"
    assert place.beats[0].startswith("Standing out, diffusion model: masked ")
    alike = "none in layers 2 and 4–7 (punctuation in layer 2: as common with other weights)."
    assert place.beats[1].endswith(
        "3 and the first token in layer 0; punctuation in layer 2: as common with other weights."
    ) and any(note.endswith(alike) for note in place.notes)
    assert place.caveat == ("Standing out: at least 10 points above all tokens, untrained and shuffled weights.")
    assert place.notes[-1] == (
        "Sinks that are masked positions: layer 0 99 % [99, 100], layer 1 100 % [100, 100] and layer 2 85 % [82, 87]."
    )
    untrained = "In an equally sharp untrained model, at most 14 % of sinks in layers 0–2 are masked."
    assert place.beats[2] == untrained and place.takeaway.startswith(f"{untrained} Also standing out: ")
    rows = [row for row in study.tables["layers"] if row["measure"] != KIND_MEASURES["tokens"].title]
    (place,) = (
        finding
        for finding in story_of(study.model_copy(update={"tables": {**study.tables, "layers": rows}})).findings
        if finding.name == "place"
    )
    assert "words in layers 4 and 6–7" in place.beats[0], "shares of all tokens are not known"
    assert place.beats[1].endswith("; mixed in layer 1.")


def test_no_kind_is_named_or_left_out_against_the_rule_that_the_sentence_states():
    study = read(EXAMPLE)
    rows = [row for row in study.tables["layers"] if (row["model"], row["weights"]) == ("bundled-ar", "trained")]
    tokens = {row["kind"]: row["value"] for row in rows if row["measure"] == KIND_MEASURES["tokens"].title}
    above = {
        row["layer"]
        for row in rows
        if row["measure"] == KIND_MEASURES["portion"].title
        and row["low"] > tokens[row["kind"]]
        and row["value"] >= tokens[row["kind"]] + 0.1
    }
    assert above - {ALL_LAYERS} == {f"layer {layer}" for layer in range(4)}


def test_what_the_discount_does_is_told_by_accuracies_and_by_differences_where_a_study_has_none():
    study = read(EXAMPLE)
    (_, answer) = story_told("example").answers
    assert answer.lead == "No measurable gain: accuracy changes by less than 2 points."
    assert answer.levels == (
        "Accuracy (line: chance, 37.5 %); pruned: 70 % of the weights removed: dense (unpruned) 93 %, "
        "pruned, no discount 72 %, pruned, with discount 72 %."
    )
    assert answer.sentence == "Change on 768 items: +0.3 points [−0.3, +1.0] at 70 %; +0.1 [−0.7, +0.9] at 50 %."
    (_, at_70), (_, refuting) = (story_of(each).findings[-2:] for each in (study, refutes()))
    drawn = at_70.figure.replace("\u00a0", " ")
    assert "+0.3 points" in drawn
    assert "With discount, 70 % removed (pruning itself: −21 points [−24, −18])<" in drawn
    levels = re.findall(r'class="label">([^<]+)</span>.*?class="value">([^<]+)<', drawn)
    assert levels[0] == ("dense (unpruned)", "92.6 %") and ("no discount (noised text)", "71.8 %") in levels
    assert ("Wanda as published (clean text)", "71.4 %") in levels
    assert "differences before rounding" in at_70.caveat
    assert "wins back" not in refuting.title
    pruning = study.pruning.model_copy(update={"settings": (), "waterfalls": ()})
    (_, answer) = story_of(study.model_copy(update={"pruning": pruning})).answers
    assert answer.figure is None and answer.levels == "", "what pruning costs is not known"
    assert answer.sentence == "Change on 768 items: +0.1 points [−0.7, +0.9] at 50 %; +0.3 [−0.3, +1.0] at 70 %."


@pytest.mark.parametrize("name", STUDIES)
def test_every_kind_of_mark_in_a_figure_of_the_story_is_told(name):
    for told in story_told(name).findings:
        for drawn in filter(None, (told.figure, told.folded)):
            marks = set(re.findall(r'<i class="(run|whisker|dot hollow|dot|band)"', drawn))
            keys = set(re.findall(r'<i class="key (run|line|dot hollow|dot|band)"', drawn))
            assert {{"whisker": "line"}.get(mark, mark) for mark in marks} == keys, told.name


def test_an_even_split_of_a_left_to_right_model_counts_what_its_tokens_see():
    study = read(EXAMPLE)
    diffusion, twin = (unpacked(track) for track in study.playback["tracks"])
    assert (diffusion.uniform == 1).all() and twin.uniform[0, 0] > 3.5
    there = twin.mass[0] > 0
    queries = there.sum()
    expected = [(1 / np.arange(1 + at, 1 + queries)).sum() for at in range(queries)]  # of attention to all before it
    assert np.allclose(twin.uniform[0, there], expected, rtol=1e-5)
    mass = twin.mass[0, there]
    assert twin.sinks[0, there].tolist() == (mass > mass.mean() + 2 * mass.std()).tolist()
    paid = (twin.mass * twin.uniform)[0]
    assert twin.strength[0] == pytest.approx(paid[twin.sinks[0]].sum() / paid.sum())
    assert twin.even[0] == pytest.approx(twin.uniform[0, twin.sinks[0]].sum() / twin.uniform[0, there].sum())


def test_the_first_finding_tells_how_far_sinks_and_masks_are_the_same():
    study = read(EXAMPLE)
    track = unpacked(study.playback["tracks"][0])
    masked, sinks = ((track.flags & UNDECIDED) > 0)[:-1], track.sinks[:-1]
    assert (masked[40] == sinks[40]).all() and masked[40].sum() == 8
    (told,) = (finding for finding in story_told("example").findings if finding.name == "sink")
    both = (masked & sinks).sum()
    assert told.beats[-1] == (
        f"The diffusion model's 8 sinks are exactly the 8 positions still masked. Over all steps of this text "
        f"{percent(both / sinks.sum(), 0)} "
        f"of sinks are masked, but only {percent(both / masked.sum(), 0)} of masked positions are sinks."
    )
    assert told.beats[0] == (
        "One text, step 40 (0–47): 8 of 70 tokens take 30 % of the attention, an even split gives them 11 %."
    )
    alone = study.model_copy(update={"tables": {}})
    told = story_of(alone).findings[0]
    assert told.title == "In one text, 8 of 70 tokens draw 2.6 × an even split of attention"
    assert told.caveat.endswith("Here sinks and masks coincide.")
    assert told.beats[1].startswith("Left-to-right twin, step 19 (0–22): 2 of 41 tokens take 2.7 %")


def test_the_first_finding_tells_both_models_by_multiples_of_an_even_split_beside_other_weights():
    told = story_told("example").findings[0]
    assert told.title == (
        "A sink of the diffusion model draws 2.5 × an even split of attention; in an equally sharp untrained model, "
        "1.8 ×"
    )
    rows = re.findall(
        r'<span class="label">([^<]+)</span>.*?<span class="told"><span class="value">([^<]+)</span>', told.figure
    )
    labels = ["its sinks", "untrained, equally sharp"]
    draws = ("2.47 × [2.42, 2.52]", "1.81 × [1.78, 1.84]", "7.5 × [7.1, 7.8]", "1.67 × [1.63, 1.71]")
    assert rows == list(zip(2 * labels, map(glued, draws), strict=True)) and told.figure.count("whisker") == 4
    assert told.caveat == (
        "Sinks: attention above mean + 2 std of a step, so high by definition; layers averaged. Even split: every "
        "token attends evenly to all it may. Equally sharp: random weights, attention as "
        "peaked as in the model."
    )
    assert "mean over 30 prompts" in told.figure and told.takeaway.startswith("One text, step 40")


def test_movement_names_the_strictest_untrained_weights_and_where_they_are_not_exceeded():
    (told,) = (finding for finding in story_told("example").findings if finding.name == "movement")
    assert told.beats == (
        "Layer 0 gains more new sinks than in untrained models (0.37 [0.34, 0.39] against "
        "0.20 [0.19, 0.22]), layers 1–7 fewer (0.28 [0.25, 0.32] against 1.88 [1.81, 1.96]).",
        "Left-to-right twin: more than untrained, 0.52 against 0.42.",
    )
    assert told.takeaway == (
        "Writing alone: each token keeps its attention until it is written. Layer 0 gains more new sinks than in "
        "untrained models, layers 1–7 fewer."
    )
    drawn = re.findall(
        r'data-beat="0" style="--end:[\d.]+"><span class="label">([^<]+)</span>'
        r'.*?<span class="value">([\d.]+)\s\[[^<]+\]</span>',
        told.figure,
    )
    names = [MOVEMENT_NULLS[null].labelled for null in ("fixed", "matched")]
    assert drawn == list(zip(["trained", *names], ("0.29", "0.08", "1.67"), strict=True))
    widths = [float(end) for end in re.findall(r'class="bar" style="left:0.00%;width:calc\(([\d.]+)%', told.figure)]
    assert widths[2] / widths[0] == pytest.approx(1.673 / 0.293, rel=0.02), "every bar is whole, on one scale"
    assert max(widths) < 100
    assert "Over 48 steps a layer gains 14 sinks." in told.notes
    assert told.notes[1] == (
        "Each baseline asks another question. Does attention move by itself (writing alone: 0.08)? Does training move "
        "sinks (random weights: 0.12, shuffled weights: 0.16)? Does training steady them (an equally "
        "sharp untrained model: 1.7)?"
    )
    tables = rows_of(read(EXAMPLE))
    tables["movement"] = [row for row in tables["movement"] if "weights" not in row["of"]]
    (told,) = (
        finding
        for finding in story_of(read(EXAMPLE).model_copy(update={"tables": tables})).findings
        if finding.name == "movement"
    )
    assert told.title == "New sinks keep appearing: 0.29 per layer and step, more than writing tokens explains (0.08)"
    assert told.notes[1].endswith("Does attention move by itself (writing alone: 0.08)?")
    assert (
        told.beats[0]
        == "Layers 0–7 gain more new sinks than with writing alone (0.29 [0.26, 0.33] against 0.08 [0.07, 0.10])."
    )


def test_kinds_of_sinks_stand_beneath_those_of_all_tokens():
    study = read(EXAMPLE)
    (told,) = (finding for finding in story_told("example").findings if finding.name == "place")
    assert told.figure.count(">all tokens<") == 2 and 'title="masked position: 33 %"' in told.figure
    assert (
        told.title
        == "In the diffusion model's layers 0–2, 85 to 100 % of sinks are masked positions; of all tokens, 33 %"
    )
    tables = rows_of(study)
    tables["layers"] = [row for row in tables["layers"] if row["measure"] != "Share of all tokens"]
    (told,) = (
        finding for finding in story_of(study.model_copy(update={"tables": tables})).findings if finding.name == "place"
    )
    assert told.title.endswith("are masked positions") and "by number alone" in told.caveat, "of an earlier version"


def test_what_pruning_costs_is_told_with_what_is_won_back():
    told = story_told("example").findings[-1]
    assert told.title == (
        "The discount alone changes accuracy by less than 2 points; removing 70 % of the weights without it costs 21 "
        "points [18, 24]"
    )
    assert told.beats[0].endswith(" Against Wanda as published (clean text): +0.8 [−1.2, +2.8] at 70 %, undecided.")
    assert told.takeaway == "At 50 %, the cost of pruning itself is not significant.", "the figure holds the rest"
    assert glued("+0.8 points [−1.2, +2.8], undecided") in told.figure
    assert "Guessing scores 37.5 %." in told.notes
    shown = re.findall(r'<span class="told"><span class="value">([^<]+)</span>', told.figure)
    assert glued("+0.1 points [−0.7, +0.9]") in shown and not any("21" in one for one in shown), "on their own scale"
    effect = Difference(value=0.012, low=0.004, high=0.02, n=9, clusters=9)
    cost = Difference(value=-0.0432, low=-0.06, high=-0.03, n=9, clusters=9)
    price = Price("70 % (Sink-Wanda)", cost, effect, BETTER)
    assert price.words == (
        "removing 70 % of the weights (Sink-Wanda) costs 4.3 points of accuracy [3.0, 6.0]; the discount wins back 1.2 "
        "[0.4, 2.0]"
    )
    gain = replace(cost, value=0.01, low=-0.01, high=0.03)
    assert replace(price, cost=gain, setting="70 %").words.startswith(
        "removing 70 % of the weights changes accuracy by +1.0 points [−1.0, +3.0]; the discount wins back"
    )
    for outcome in (CANNOT_TELL, EQUIVALENT, WORSE):
        assert replace(price, outcome=outcome).words.endswith("; the discount changes accuracy by +1.2 [+0.4, +2.0]")


@pytest.mark.parametrize(
    ("value", "lead"),
    [(0.004, "Little: it gains less than 2 points."), (-0.004, "No gain: accuracy changes by less than 2 points.")],
)
def test_a_change_too_small_to_matter_is_measurable_where_it_is_significant(value, lead):
    study = read(EXAMPLE)
    ends = {"low": value - 0.002, "high": value + 0.002}
    contrasts = [
        one.model_copy(update={"effect": replace(one.effect, value=value, **ends, p=0.001, p_holm=0.01)})
        if one.kind == "discount"
        else one
        for one in study.pruning.contrasts
    ]
    pruning = study.pruning.model_copy(update={"contrasts": tuple(contrasts)})
    (_, answer) = story_of(study.model_copy(update={"pruning": pruning})).answers
    assert answer.lead == lead


def test_perplexity_is_no_yes_where_it_rises_as_much_with_random_weights():
    study = read(EXAMPLE)
    causes = tuple(
        one.model_copy(update={"untrained": one.effect}) if one.measure == "nll" else one for one in study.causes
    )
    (answer, _) = story_of(study.model_copy(update={"causes": causes})).answers
    assert answer.lead.startswith("It depends: hiding them changes predictions more")


def test_a_mean_has_as_many_digits_as_its_interval_supports():
    assert Measured(2.4707, 2.4223, 2.5193).told(" ×") == "2.47 × [2.42, 2.52]"
    assert Measured(7.45, 7.1, 7.8).told() == "7.5 [7.1, 7.8]"
    assert Measured(0.0811, 0.0684, 0.0951).told() == "0.081 [0.068, 0.095]"
    assert Measured(0.0811, 0.0684, 0.0951).told(beside=Measured(0.29, 0.26, 0.33)) == "0.08 [0.07, 0.10]"
    assert Measured(1.673, 1.606, 1.74).told(beside=Measured(0.0029, 0.0026, 0.0033)) == "1.67 [1.61, 1.74]"
    assert Measured(1.7, None, None).told(" ×") == "1.7 ×"
    rows = [{"value": 1.0, "low": 0.5, "high": 1.5}, {"value": 4.0, "low": 3.0, "high": 5.0}]
    assert Measured.mean(rows) == Measured(2.5, 1.75, 3.25)
    assert Measured.mean(rows, (2, 1)) == Measured(2.0, 4 / 3, 8 / 3)
    assert Measured.mean([rows[0], {"value": 3.0, "low": None, "high": None}]) == Measured(2.0)


def test_the_last_slide_has_a_row_per_answer_with_one_number_one_interval_and_one_baseline():
    rows = [row for told in story_told("example").findings for row in told.summaries]
    assert [(row.quantity, row.value, row.baseline.replace("\u00a0", " ")) for row in rows] == [
        ("Attention of a sink (layers averaged), × an even split", "2.47 [2.42, 2.52]", rows[0].baseline),
        (
            "Sinks of layers 0–2 that are masked positions",
            "at least 85 % [82, 87]",
            "33 % of all tokens; untrained at most 14 %",
        ),
        (
            "Perplexity with sinks hidden (with nothing: 2.4)",
            "3.8 [3.1, 4.7]",
            "random, equal attention: 4.5 (sinks −15 % [−31, +4]); other masked: 2.8 (sinks +36 % [+14, +63])",
        ),
        (
            "Token where texts end, sinks hidden (untouched: 44)",
            "21",
            "24 earlier [16, 31] than at equal attention (means)",
        ),
        (
            "Weights chosen differently, 70 % removed",
            "0.23 % (seeds: 0.22 to 0.24 %)",
            "another calibration sample: 1.9 % (1.6 to 2.3 %)",
        ),
        (
            "Accuracy change from the discount, points, 70 % removed",
            "+0.3 [−0.3, +1.0]",
            "pruning alone costs 21 points [18, 24]; against Wanda as published +0.8 [−1.2, +2.8], undecided",
        ),
    ]
    assert rows[0].baseline == "untrained, equally sharp: 1.81 [1.78, 1.84]"
    assert " ".join(story_told("example").decision.values()) == (
        "At 50 % and 70 %, leave this discount out: pruning without it does about as well. In the "
        "diffusion model, hiding sinks costs more than hiding other masked positions; at equal attention, perplexity "
        "does not differ significantly, but texts end earlier."
    )
    undecided = slides_html(story_told("cannot tell"))
    assert "<b>Pruning:</b> This is no reason to switch the discount on, nor off" in undecided


def test_of_masks_the_range_over_seeds_and_pairs_is_drawn_and_told():
    study = read(EXAMPLE)
    fewer = [
        one.model_copy(update={"changed": one.changed[:3], "floor": (float(np.mean(one.floor)),) * 3})
        for one in study.mask_changes
    ]
    compared = (
        "The discount swaps far fewer weights than another calibration sample does: 0.23 % against 1.9 % with 70 % "
    )
    bare = "With 70 % removed, the discount chooses 0.23 % of weights differently; another calibration sample changes "
    titled = ((study.mask_changes, f"{compared}removed"), (fewer, f"{bare}1.9 %"))  # three seeds show no order
    for changes, title in titled:
        (told,) = (
            one
            for one in story_of(study.model_copy(update={"mask_changes": tuple(changes)})).findings
            if one.name == "masks"
        )
        seeds, pairs = len(changes[0].changed), len(changes[0].floor)
        assert f"range of {seeds} seeds, or of their {pairs} pairs" in told.figure
        assert told.figure.count('<i class="whisker"') == 2 * len(changes)
        assert told.title == title
        assert told.beats == (
            "Wanda scores weights by size and inputs on a calibration sample; the discount (Sink-Wanda, λ = 1) leaves "
            "sinks out.",
        )
        assert "Random choices would differ in 50 % (50 % removed) and 42 % (70 % removed)." in told.notes
        assert told.caveat.endswith(" of 128 tokens. Discounting as many random tokens was not tried.")
    with_sham = study.model_copy(update={"spec": {**study.spec, "methods": WITH_SHAMS}})
    (told,) = (one for one in story_of(with_sham).findings if one.name == "masks")
    assert told.caveat == "Calibration: 16 sequences of 128 tokens."


def test_a_text_has_a_slide_of_its_own():
    text = Continuation(
        model="bundled",
        prompt="One day",
        number=7,
        median_of=30,
        untouched=TEXT,
        hidden=("Sue", "sat", "."),
        matched=TEXT,
    )
    none, chosen = (slides_html(story_of(supports().model_copy(update={"continuations": of}))) for of in ((), (text,)))
    assert (none.count('<section class="slide'), chosen.count('<section class="slide')) == (8, 8)
    assert "<h2>A sink of" in none and "<h2>A sink of" not in chosen and "<p>A sink of" in chosen
    assert (
        "In one text hiding sinks changes 2 of 3 tokens (67 %); hiding as many random tokens: 0 (0 %)"
        in chosen.replace("\u00a0", " ")
    )
    assert "Nothing hidden" in chosen and "Prompt 7 of 30: " in chosen
    assert "Chosen as typical in changed tokens, perplexity and length." in chosen


def test_the_text_of_the_example_is_the_one_nearest_the_median():
    (hidden,) = (finding for finding in story_told("example").findings if finding.name == "hidden")
    assert hidden.example.title == (
        "One text ends at token 4 with sinks hidden; untouched, or at equal attention, not within 48"
    )
    assert "Prompt 21 of 30: " in hidden.example.figure
    assert (
        "Sinks hidden: ends at token 4, 1 of 4 differ, perplexity 3.7 (33 of all 48 differ)"
        in hidden.example.figure.replace("\u00a0", " ")
    )
    ends = '<span>.</span> <mark>[EOS]</mark> <span class="beyond">[BOS]</span>'
    assert ends in hidden.example.figure, "what both texts begin with lines up; what follows the end is faint"
    assert "error" not in hidden.example.reading, "a text may begin where one has ended"


def test_movement_tells_how_many_untrained_models_there_are():
    study = STUDIES["example"]()
    one = study.model_copy(update={"spec": {**study.spec, "random_models": 1}})
    for findings, count in ((study, 3), (one, 1)):
        (told,) = (finding for finding in story_of(findings).findings if finding.name == "movement")
        assert told.title.endswith(" against 1.67")
        assert told.caveat.startswith(f"One trained model, {count} untrained; ")


def test_the_last_slide_is_titled_by_the_answers_to_both_questions():
    assert story_told("example").in_short == (
        "Token for token, sinks matter; the discount alone changes accuracy by less than 2 points"
    )
    assert story_told("cannot tell").in_short == (
        "This study cannot tell whether hiding the sinks changes more, nor whether the discount changes accuracy"
    )


def test_what_a_finding_means_follows_its_decision():
    assert story_parts.of_sinks(clear=False).startswith("Over all prompts this model has no clear sinks")
    assert story_parts.of_sinks(clear=True) == story_parts.of_masks([0.01] * 6, [0.012] * 15) == ""
    assert story_parts.of_masks([0.01] * 6, [0.05] * 15).endswith("another sample changes 5 times as many weights.")
    assert not story_parts.of_masks([0.01] * 3, [0.05] * 3), "too few seeds"
    assert "would keep most sinks in 6 of 8 layers" in story_parts.of_place("", {"first": 6}, 8)
    assert "No rule" in story_parts.of_place("", {}, 8)
    assert "at every step" in story_parts.of_movement(2.1, 48, 10.0)
    assert story_parts.of_movement(0.3, None, None) == "A list of sinks made once goes stale."
    assert story_parts.rate(2.1, 48) == "about 2 new sinks per step"
    assert story_parts.rate(0.07, 48) == "a new sink about every 14 steps"
    assert story_parts.rate(0.9, None) == "a new sink about every step"
    assert story_parts.rate(0.01, 48) == "less than one new sink per text"
    assert story_parts.of_hiding(WAITING, True, None, True) == ""
    assert "safer to drop" in story_parts.of_hiding(WORSE, False, WORSE, True)
    assert "predictions and perplexity disagree" in story_parts.of_hiding(BETTER, True, WORSE, False)
    assert "this study cannot tell" in story_parts.of_hiding(BETTER, True, CANNOT_TELL, True)
    limited = story_parts.of_hiding(BETTER, True, None, True, "the diffusion model")
    assert limited == "In the diffusion model, when tokens are dropped, spare the sinks: perplexity rises less."
    assert "second calibration seed" in story_parts.of_masks([0.01], [])
    assert "the same weights are removed" in story_parts.of_masks([0.0], [0.01])
    mixed = {"50 %": BETTER, "60 %": EQUIVALENT, "70 %": WORSE, "80 %": CANNOT_TELL}
    told = "The discount: on at 50 %, off at 70 %, not worth it at 60 %, undecided at 80 %."
    assert story_parts.of_accuracy(mixed) == told


def test_what_it_would_take_to_tell_is_in_the_last_words():
    assert any("To show a difference of 2 points" in line for line in story_told("cannot tell").closing)


def test_an_unfinished_study_is_told_without_what_it_lacks():
    unfinished = supports().model_copy(
        update={"mask_changes": (), "continuations": (), "explorer": "", "playback": None}
    )
    story = story_of(unfinished)
    assert [finding.name for finding in story.findings] == ["sink", "place", "movement", "hidden", "accuracy"]
    assert "sinkscope-explorer" not in report_html(unfinished) and playback_of(unfinished) is None
    empty = unfinished.model_copy(update={"tables": {}, "prompts": {}, "causes": (), "pruning": None, "sayings": ()})
    assert story_of(empty).findings == () and story_of(empty).answers == ()


def test_a_study_of_one_model_that_pruned_nothing_names_it_and_claims_nothing_of_pruning():
    study = read(EXAMPLE)
    tables = {name: tuple(row for row in rows if row["model"] == "bundled") for name, rows in study.tables.items()}
    alone = study.model_copy(
        update={
            "spec": {**study.spec, "reference": None},
            "tables": tables,
            "causes": tuple(cause for cause in study.causes if cause.model == "bundled"),
            "playback": {**study.playback, "tracks": study.playback["tracks"][:1]},
            "pruning": None,
            "mask_changes": (),
        }
    )
    story = story_of(alone)
    assert [answer.question for answer in story.answers] == ["Do this model's sinks matter?"]
    assert [finding.name for finding in story.findings] == ["sink", "place", "movement", "hidden"]
    beats = " ".join(beat for finding in story.findings for beat in finding.beats)
    assert "One text, step 40 (0–47): 8 of 70 tokens" in beats and "the model: masked positions in layers 0–2" in beats
    assert not re.search("bundled|twin|discount|pruning mask", beats) and story.about.endswith(
        "of stories (4.7 million parameters)."
    )
    assert [track["name"] for track in playback_of(alone)["tracks"]] == ["The model"]


def test_hostile_text_stays_text():
    hostile = "</script><img src=x onerror=alert(1)>"
    text = Continuation(
        model="bundled",
        prompt=hostile,
        number=1,
        median_of=30,
        untouched=(hostile,),
        hidden=(hostile, "a"),
        matched=(hostile,),
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
