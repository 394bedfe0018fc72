"""What is said of a set of recordings: only what lies beyond its nulls."""

import re
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from analysis.exhibits import recording_sets
from analysis.figures.export import Exhibit
from analysis.findings import findings_of, layers
from analysis.findings.layers import token_shares
from analysis.findings.sets import OTHER_WEIGHTS, RULES, family_of
from analysis.recording import set_tables
from analysis.recording.set_file import ALL_LAYERS, RecordingSet
from analysis.recording.set_measures import KIND_MEASURES, MOVES, by_kind, compared, excesses
from analysis.recording.set_tables import KIND_LABELS, layers_in_words
from analysis.sinks.layer_run import VARIANTS
from analysis.sinks.movement import MOVEMENT_NULLS, WEIGHT_NULLS
from tests.helpers import there
from tests.recording.made_sets import LAYERS, a_set

KINDS, COUNTS, MOVEMENT, MISSING = "where sinks are", "sink counts", "how sinks move", "missing claims"


def said_of(recordings: RecordingSet) -> dict[str, list[str]]:
    return defaultdict(list, findings_of("record_set", recordings, family_of(recordings)))


def changed(recordings: RecordingSet, **arrays: np.ndarray) -> RecordingSet:
    return replace(recordings, arrays={**recordings.arrays, **{n.replace("__", "."): a for n, a in arrays.items()}})


def test_nothing_is_said_where_trained_and_nulls_are_drawn_from_one_distribution() -> None:
    said = [said_of(a_set(seed)) for seed in range(8)]
    # The checks of counts hold what they are held against by made-up numbers too; all are one family a set.
    beyond = [len(one[KINDS]) + len(one[MOVEMENT]) for one in said]
    assert sum(count > 0 for count in beyond) <= 2


def test_more_births_in_two_layers_than_under_fixed_shares_is_said_of_these_layers() -> None:
    recordings = a_set(0)
    births = recordings.arrays["fixed.births"].copy()
    births[:, :2] *= 5
    said = said_of(changed(recordings, trained__births=births))[MOVEMENT]
    [sentence] = [text for text in said if "than the writing of tokens explains" in text and "born" in text]
    assert sentence.startswith("Layers 0 and 1: more sinks are born")


def test_other_weights_must_be_exceeded_model_by_model_and_are_named() -> None:
    recordings = a_set(0)
    births = recordings.arrays["trained.births"] * 5
    above_all = changed(recordings, trained__births=births)
    [said] = [text for text in said_of(above_all)[MOVEMENT] if "more sinks are born than with other weights" in text]
    assert all(MOVEMENT_NULLS[null].called in said for null in WEIGHT_NULLS) and "not shown" not in said
    one_like_it = recordings.arrays["permuted.births"].copy()
    one_like_it[1] = births
    changed_set = changed(above_all, permuted__births=one_like_it)
    [said] = [text for text in said_of(changed_set)[MOVEMENT] if "more sinks are born than with other weights" in text]
    assert "with random weights" in said and said.endswith("not significant against shuffled weights.")


def test_a_kind_is_named_with_the_multiple_that_was_tested_and_its_share_of_the_tokens() -> None:
    recordings = a_set(0)
    share = recordings.arrays["trained.token_share"].copy()
    share[:, 1, 4] *= 3
    moved = changed(recordings, trained__token_share=share)
    [said] = [text for text in said_of(moved)[KINDS] if text.startswith("Layer 1: punctuation draws")]
    tested = share[:, 1, 4].sum() / recordings.arrays["trained.tokens"][:, 4].sum()
    assert f"{tested:.2g} × uniform attention" in said and "17 % of the tokens" in said


@pytest.mark.parametrize(
    ("models", "prompts", "keys", "reason"),
    [
        (2, 40, 0, "they need 3 models that saw 30 prompts each; 2 models saw at least 40."),
        (3, 29, 0, "None of this is a claim: claims need at least 30 prompts, and there are 29."),
        (3, 60, 5, "None of this is a claim: claims need at least 30 templates of prompts, and there are 5."),
    ],
)
def test_little_is_claimed_on_few_models_prompts_or_templates(
    models: int, prompts: int, keys: int, reason: str
) -> None:
    recordings = a_set(0, models=models, prompts=prompts, keys=keys)
    said = said_of(changed(recordings, trained__births=recordings.arrays["trained.births"] * 9))
    assert not any("with other weights" in text for text in said[MOVEMENT] + said[KINDS])
    assert reason in " ".join(said[MISSING])
    assert bool(said[MOVEMENT]) == (models == 2), "what needs no other weights is said"


def test_prompts_of_one_template_count_as_one() -> None:
    """Common features of a few templates are no difference, however many prompts each template has."""
    rng, falsely = np.random.default_rng(0), {0: 0, 40: 0}
    for seed in range(12):
        for keys in falsely:
            recordings = a_set(seed, prompts=160, keys=keys)
            of_template = np.repeat(rng.gamma(2, 0.5, 40)[None], 4, axis=0).ravel()  # the keys take turns
            births = recordings.arrays["shuffled.births"] * of_template[:, None, None]
            observed = changed(recordings, trained__births=births)
            (difference,) = excesses(observed, [compared(observed, "births", MOVES["births"].parts, "shuffled")])
            falsely[keys] += bool(((difference.low > 0) | (difference.high < 0)).any())
    assert falsely[40] <= 2 < falsely[0]


def test_what_a_page_shows_shares_its_error() -> None:
    recordings = a_set(1)
    widths = [family_of(recordings, sets)["change:fixed"].high.sum() for sets in (1, 4)]
    assert widths[1] > widths[0]


def test_counts_stand_beside_log_normal_attention() -> None:
    recordings = a_set(0)
    as_many = recordings.arrays["trained.iid_sinks"][..., None] / len(recordings.kinds)
    more = np.repeat(as_many, len(recordings.kinds), axis=-1)
    more[:, 2] *= 2
    apart = recordings.arrays["trained.gap"].copy()
    apart[:, 3] = recordings.arrays["trained.iid_gap"][:, 3] + 1
    equal = {f"trained__{name}": recordings.arrays[f"trained.iid_{name}"] for name in ("tail", "gap")}
    said = said_of(changed(recordings, **{**equal, "trained__gap": apart, "trained__sinks": more}))[COUNTS]
    assert any("Layer 2: more sinks than in log-normal attention" in text for text in said)
    assert any(text.startswith("Layer 3: a gap sets the sinks apart") or "and 3: a gap" in text for text in said)
    assert any("no significant gap or heavy tail" in text for text in said)


def test_a_layer_whose_answer_another_definition_or_length_changes_says_so() -> None:
    recordings = a_set(0)
    sinks, variants = recordings.arrays["trained.sinks"].copy(), recordings.arrays["trained.variants"].copy()
    half = recordings.arrays["trained.half_sinks"].copy()
    sinks[:, :, 5] *= 9
    variants[..., 5] *= 9
    half[..., 5] *= 9
    variants[:, list(VARIANTS).index("k3"), 1, 1] *= 99
    variants[:, list(VARIANTS).index("mean-attention"), 2] = 0
    half[:, 3, 1] *= 99
    changes = {"trained__sinks": sinks, "trained__variants": variants, "trained__half_sinks": half}
    one, three, none = said_of(changed(recordings, **changes))[COUNTS][-3:]
    assert "Layer 1: which tokens are sinks depends on" in one and "the first token" in one
    assert one.endswith("with k = 3.") and three.startswith("Layer 3") and three.endswith("at 3 new tokens.")
    assert none == "There are no sinks in layer 2 with mean attention above a level."


def test_the_contrast_of_two_paradigms_stands_beside_the_same_without_training() -> None:
    sets = {"dlm": a_set(0), "ar": a_set(1, attention="causal")}
    spread = dict.fromkeys(("trained", *WEIGHT_NULLS), 1.0)

    def said(**times: float) -> str:
        arrays = {
            f"{which}__centroid_variance": sets["dlm"].arrays[f"{which}.centroid_variance"] * (spread | times)[which]
            for which in spread
        }
        words = layers.words({"dlm": changed(sets["dlm"], **arrays), "ar": sets["ar"]})
        assert not any("Variance of the sinks' centre" in text for text in words["ar"])
        [sentence] = [text for text in words["dlm"] if "Variance of the sinks' centre" in text]
        return sentence

    assert "dlm minus ar, 40 prompts" in said() and said().endswith("Training does not add to it significantly.")
    everywhere = said(**dict.fromkeys(spread, 3.0))
    assert (
        "Training does not add to it significantly. The contrast also appears without training: with random"
        in everywhere
    )
    assert "compared with random weights, shuffled weights and an equally sharp untrained model" in said(trained=3.0)
    assert said(trained=3.0, permuted=3.0).endswith(
        "not significantly compared with shuffled weights. The contrast also appears without training: "
        "with shuffled weights."
    )
    assert said(trained=3.0).count("] against ") == 3


def test_every_rule_names_a_measure_and_a_null_and_fills_its_words() -> None:
    for rule in RULES.values():
        assert rule.measure in MOVES and rule.null in {*MOVEMENT_NULLS, OTHER_WEIGHTS} and (rule.above or rule.below)
        for words in filter(None, (rule.above, rule.below)):
            assert words.format(layers="Layer 1", value="2", null="1").startswith("Layer 1")


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([3], "Layer 3"),
        ([0, 1, 2, 5], "Layers 0–2 and 5"),
        ([0, 1], "Layers 0 and 1"),
        ([0, 2, 4], "Layers 0, 2 and 4"),
    ],
)
def test_layers_are_named_in_runs(layers: list[int], words: str) -> None:
    assert layers_in_words(np.array(layers), 8) == words
    assert layers_in_words(np.arange(8), 8) == "All 8 layers"


def test_figures_and_tables_hold_every_model_with_its_intervals() -> None:
    sets = {"one": a_set(0), "two": a_set(1, models=0)}
    shown = recording_sets.layers_by_kind(sets)
    assert {"masked", "word"} <= {trace.name for trace in shown.figure.data}
    assert any("one" in note.text for note in shown.figure.layout.annotations)
    bars = [trace for trace in shown.figure.data if trace.name == "masked"]
    assert [len(trace.x) for trace in bars] == [LAYERS + 1] * 2, "all tokens too"
    for name, trace in zip(sets, bars, strict=True):
        assert trace.x[0] == pytest.approx(token_shares(sets[name])[0], rel=1e-6)
    assert shown.figure.layout.yaxis.ticktext[:2] == ("all tokens<br>(baseline)", "layer 0")
    places = shown.figure.layout.yaxis.tickvals
    assert list(places) == sorted(places) and list(bars[0].y[: LAYERS + 1]) == list(places), "a row stands at its name"
    strong = recording_sets.strengths(sets)
    assert {"masked", "random weights", "untrained, equally sharp"} <= {t.name for t in strong.figure.data}
    values = shown.table[(shown.table["model"] == "one") & (shown.table["weights"] == "trained")]
    assert (values["low"] <= values["value"] + 1e-9).all() and (values["value"] <= values["high"] + 1e-9).all()
    moved = recording_sets.movement("one", sets["one"])
    assert moved.figure.data[-1].name == "observed", "its nulls are drawn beneath it"
    assert moved.figure.data[-1].legendrank < moved.figure.data[0].legendrank
    titles = [annotation.text for annotation in moved.figure.layout.annotations]
    assert len(titles) == len(recording_sets.PANELS)
    assert all(len(line) <= 22 for title in titles for line in title.split("<br>"))
    names = {trace.name for trace in moved.figure.data}
    assert names == {"observed", *(null.labelled for null in MOVEMENT_NULLS.values())}
    counted = there(recording_sets.counts(sets))
    assert {trace.name for trace in counted.figure.data} >= {"k = 3", "log-normal attention", "3 new tokens"}
    assert set(counted.table["model"]) == {"one", "two"}
    assert "random weights" not in {t.name for t in recording_sets.movement("two", sets["two"]).figure.data}
    curve = recording_sets.curve(sets, "count", 1)
    bands = [trace for trace in curve.figure.data if trace.fill == "toself"]
    assert len(bands) == 3 and "layer 1" in curve.title
    assert "sums the layers" in recording_sets.kinds_over_steps(sets, -1).sentence
    assert "sums the layers" not in recording_sets.kinds_over_steps(sets, 0).sentence
    assert len(set_tables.prompt_table(sets["one"])) == 40


def test_sets_of_a_model_whose_noise_is_random_tokens_say_undecided() -> None:
    recordings = a_set(0, noise="uniform")
    share = recordings.arrays["trained.token_share"].copy()
    share[:, 1, 0] *= 3
    recordings = changed(recordings, trained__token_share=share)
    assert any(text.startswith("Layer 1: undecided tokens draw") for text in said_of(recordings)[KINDS])
    alone = {"noisy": recordings}
    shown = [
        recording_sets.layers_by_kind(alone),
        recording_sets.kinds_over_steps(alone, -1),
        recording_sets.curve(alone, "count", -1, "without [MASK]"),
    ]
    assert not any("[MASK]" in text for each in shown for text in told(each))
    assert all(any("undecided" in text for text in told(each)) for each in shown)


def test_beside_a_model_with_masks_each_row_is_named_as_its_own_and_what_they_share_as_masked() -> None:
    sets = {"noisy": a_set(0, noise="uniform"), "masked": a_set(1)}
    kinds = set_tables.kind_table(sets).groupby("model")["kind"].unique()
    assert "undecided" in kinds["noisy"] and "[MASK]" not in kinds["noisy"]
    assert "[MASK]" in kinds["masked"] and "undecided" not in kinds["masked"]
    assert "[MASK]" in recording_sets.kinds_over_steps(sets, -1).table.columns


def told(shown: Exhibit) -> list[str]:
    """Every text of an exhibit: what is said, its formulas, figure and table."""
    return [shown.title, shown.told, shown.formula, shown.figure.to_json(), shown.table.to_csv()]


def test_models_beside_each_other_have_a_figure_each_with_its_key() -> None:
    sets = {"one": a_set(0), "two": a_set(1)}
    first, second = recording_sets.each_by_layer(sets)
    assert (first.title, second.title) == ("one", "two") and set(first.table["model"]) == {"one"}
    assert first.figure.layout.xaxis.range == second.figure.layout.xaxis.range == (0, 1)
    assert first.figure.layout.height == second.figure.layout.height, "their rows stand beside each other"
    keys = [[note.text for note in each.figure.layout.annotations if "word" in note.text] for each in (first, second)]
    assert len(keys[0]) == len(keys[1]) == 1 and "masked" in keys[0][0], "on a phone, one stands far above the other"
    assert first.figure.layout.xaxis.ticktext[-1] == "100" and first.figure.layout.xaxis.title.text.endswith(", %")


def test_the_bars_of_a_layer_add_up_to_all_of_its_sinks_and_stand_beside_those_of_other_weights() -> None:
    recordings = a_set(0)
    recordings.arrays["trained.sinks"][:, :, 2] *= 0.01  # a kind that is rare
    recordings.arrays["trained.sinks"][:, :2, 0] *= 50  # and one that stands out in two layers
    recordings.arrays["permuted.sinks"][:, :, 0] *= 2
    shown = recording_sets.layers_by_kind({"one": recordings}).figure
    np.testing.assert_allclose(sum(np.array(trace.x) for trace in shown.data), 1, atol=1e-5)
    [key] = [note.text for note in shown.layout.annotations if "word" in note.text]
    assert key.endswith(" word"), "no line beneath the kinds"
    assert not any("<b>" in note.text for note in shown.layout.annotations), "only what stands out is bold"
    others = [by_kind(recordings, "portion", null).value[:2, 0] for null in ("matched", "permuted")]
    at_layers = [note for note in shown.layout.annotations if note.y in range(LAYERS) and note.yref == "y"]
    columns = [[note.text for note in at_layers if note.xshift == place] for place in (8, 70)]
    leading = [[f"■ {100 * share:.0f} %" for share in shares] for shares in others]
    assert [[re.sub("<[^>]+>", "", text) for text in column[:2]] for column in columns] == leading
    beside, _ = columns
    marked = [re.findall("color:(#[0-9a-f]+)", text)[0] for text in beside]
    commonest = [max(shown.data, key=lambda bar: bar.x[list(bar.y).index(layer)]) for layer in range(2, LAYERS)]
    assert marked[2:] == [bar.marker.color for bar in commonest], "the commonest where no kind leads"
    for layer in range(LAYERS):
        bold = [bar.name for bar in shown.data if bar.text[list(bar.y).index(layer)].startswith("<b>")]
        assert bold == [KIND_LABELS[recordings.kinds[0]]] * (layer < 2), "whose share is beside it"
    alone = recording_sets.layers_by_kind({"one": a_set(0, models=0)}).figure
    assert not any(re.search("thin|untrained", note.text or "") for note in alone.layout.annotations)
    assert not any("<b>" in text for bar in alone.data for text in bar.text)
    assert alone.layout.margin.r < shown.layout.margin.r, "no column without its numbers"
    for one in layers.answer_of(recordings).layers:
        place = list(shown.data[0].y).index(one.layer)
        assert shown.data[0].customdata[place].endswith(f"of the sinks of layer {one.layer}, {one.count:.1f} per step")
    told = recording_sets.layers_by_kind({"one": recordings}).sentence
    table = set_tables.kind_table({"one": recordings})
    of_layers = (table["weights"] == "trained") & (table["layer"] != ALL_LAYERS)
    shares = table[of_layers & (table["measure"] == KIND_MEASURES["portion"].title)]
    widest = max((shares["high"] - shares["value"]).max(), (shares["value"] - shares["low"]).max())
    assert f"±{np.ceil(100 * widest):.0f}" in told
    assert all(re.search(r"\[\d+, \d+ %\] of the sinks of layer", text) for text in shown.data[0].customdata[1:LAYERS])


def test_the_intervals_of_the_kind_that_leads_are_told_apart_and_a_kind_too_rare_to_be_seen_is_not_drawn() -> None:
    recordings = a_set(0)
    rare = list(recordings.kinds).index("last")
    recordings.arrays["trained.sinks"][:, :2, 0] *= 500
    recordings.arrays["trained.sinks"][:, :, rare] *= 0.001
    for array in ("trained.tokens", *(f"{null}.sinks" for null in recordings.weight_nulls)):
        recordings.arrays[array][..., rare] *= 0
    shown = recording_sets.layers_by_kind({"one": recordings})
    bounds = re.search(r"within ±(\d+) points \(masked, layers 0 and 1\), else ±(\d+)\. ", shown.sentence)
    assert bounds is not None, shown.sentence
    portion = by_kind(recordings, "portion")
    apart = np.maximum(portion.high - portion.value, portion.value - portion.low)[:LAYERS]
    led = np.zeros(apart.shape, bool)
    led[:2, 0] = True
    assert [float(each) for each in bounds.groups()] == [np.ceil(100 * apart[part].max()) for part in (led, ~led)]
    [key] = [note.text for note in shown.figure.layout.annotations if "word" in note.text]
    assert "last token" not in {trace.name for trace in shown.figure.data} and "last token" not in key
    assert "first token" in key


def test_new_sinks_stand_beside_the_nulls_that_they_are_held_against_on_one_axis() -> None:
    first, second = recording_sets.each_births({"one": a_set(0), "two": a_set(1)})
    names = {trace.name for trace in first.figure.data}
    assert names == {"observed", *(null.labelled for name, null in MOVEMENT_NULLS.items() if name != layers.PLACES)}
    assert first.figure.layout.yaxis.range == second.figure.layout.yaxis.range is not None
    assert first.figure.layout.showlegend and second.figure.layout.showlegend
