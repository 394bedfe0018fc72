"""What is said of a set of recordings: only what lies beyond its nulls."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.recording import set_exhibits
from analysis.recording.set_file import RecordingSet
from analysis.recording.set_measures import MOVES
from analysis.recording.set_verdicts import RULES, kinds_in_words, layers_in_words, movement_in_words, silent_nulls
from analysis.sinks.movement import MOVEMENT_NULLS
from tests.recording.made_sets import a_set


def changed(recordings: RecordingSet, **arrays: np.ndarray) -> RecordingSet:
    return replace(recordings, arrays={**recordings.arrays, **{n.replace("__", "."): a for n, a in arrays.items()}})


def test_nothing_is_said_where_trained_and_nulls_are_drawn_from_one_distribution() -> None:
    said = [len(movement_in_words(a_set(seed))) + len(kinds_in_words(a_set(seed))) for seed in range(4)]
    assert sum(said) <= 4  # 4 × (13 rules and 6 kinds), of which one in twenty may err


def test_more_births_in_two_layers_than_under_fixed_shares_is_said_of_these_layers() -> None:
    recordings = a_set(0)
    births = recordings.arrays["fixed.births"].copy()
    births[:, :2] *= 5
    births[:, 2:] += 0
    said = movement_in_words(changed(recordings, trained__births=births))
    [sentence] = [text for text in said if "than the writing of tokens explains" in text and "born" in text]
    assert sentence.startswith("Layers 0 and 1: more sinks are born")


def test_random_weights_must_be_exceeded_model_by_model() -> None:
    recordings = a_set(0)
    births = recordings.arrays["trained.births"] * 5
    rule = "than in random weights"
    above_all = changed(recordings, trained__births=births)
    assert any("more sinks are born " + rule in text for text in movement_in_words(above_all))
    one_like_it = recordings.arrays["random.births"].copy()
    one_like_it[1] = births
    said = movement_in_words(changed(above_all, random__births=one_like_it))
    assert not any("more sinks are born " + rule in text for text in said)


def test_a_kind_is_named_where_a_layer_pays_it_more_than_every_random_model_does() -> None:
    recordings = a_set(0)
    share = recordings.arrays["trained.token_share"].copy()
    share[:, 1, 4] *= 3
    said = kinds_in_words(changed(recordings, trained__token_share=share))
    assert any(text.startswith("Layer 1 rests on punctuation") for text in said)


@pytest.mark.parametrize(("models", "prompts", "reason"), [(2, 20, "needs 3 models"), (3, 6, "needs 10")])
def test_little_is_claimed_on_few_models_or_prompts(models: int, prompts: int, reason: str) -> None:
    recordings = a_set(0, models=models, prompts=prompts)
    recordings = changed(recordings, trained__births=recordings.arrays["trained.births"] * 9)
    assert not any("random weights" in text for text in movement_in_words(recordings) + kinds_in_words(recordings))
    assert reason in " ".join(silent_nulls(recordings))


def test_every_rule_names_a_measure_and_a_null_and_fills_its_words() -> None:
    for rule in RULES.values():
        assert rule.measure in MOVES and rule.null in MOVEMENT_NULLS and (rule.above or rule.below)
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
    shown = set_exhibits.layers_by_kind(sets)
    assert {"[MASK]", "word", "random weights"} <= {trace.name for trace in shown.figure.data}
    assert any("one" in str(axis.title.text) for axis in shown.figure.select_yaxes())
    dots = [trace for trace in shown.figure.data if trace.type == "scatter"]
    assert all(trace.error_y.array is not None for trace in dots)
    values = shown.table[(shown.table["model"] == "one") & (shown.table["weights"] == "trained")]
    assert (values["low"] <= values["value"] + 1e-9).all() and (values["value"] <= values["high"] + 1e-9).all()
    moved = set_exhibits.movement("one", sets["one"])
    assert moved.figure.data[-1].name == "observed", "its nulls are drawn beneath it"
    assert moved.figure.data[-1].legendrank < moved.figure.data[0].legendrank
    titles = [annotation.text for annotation in moved.figure.layout.annotations]
    assert len(titles) == len(set_exhibits.PANELS)
    assert all(len(line) <= 22 for title in titles for line in title.split("<br>"))
    names = {trace.name for trace in moved.figure.data}
    assert names == {"observed", *(null.title for null in MOVEMENT_NULLS.values())}
    assert "random weights" not in {t.name for t in set_exhibits.movement("two", sets["two"]).figure.data}
    curve = set_exhibits.curve(sets, "count", 1)
    bands = [trace for trace in curve.figure.data if trace.fill == "toself"]
    assert len(bands) == 3 and "layer 1" in curve.title
    assert "sums the layers" in set_exhibits.kinds_over_steps(sets, -1).sentence
    assert "sums the layers" not in set_exhibits.kinds_over_steps(sets, 0).sentence
    assert len(set_exhibits.prompt_table(sets["one"])) == 20


def test_sets_of_a_model_whose_noise_is_random_tokens_say_undecided() -> None:
    recordings = a_set(0, noise="uniform")
    share = recordings.arrays["trained.token_share"].copy()
    share[:, 1, 0] *= 3
    recordings = changed(recordings, trained__token_share=share)
    assert any(text.startswith("Layer 1 rests on undecided tokens:") for text in kinds_in_words(recordings))
    alone = {"noisy": recordings}
    shown = [
        set_exhibits.layers_by_kind(alone),
        set_exhibits.kinds_over_steps(alone, -1),
        set_exhibits.curve(alone, "count", -1, "without [MASK]"),
    ]
    assert not any("[MASK]" in text for each in shown for text in told(each))
    assert all(any("undecided" in text for text in told(each)) for each in shown)


def test_beside_a_model_with_masks_each_row_is_named_as_its_own_and_what_they_share_as_masked() -> None:
    sets = {"noisy": a_set(0, noise="uniform"), "masked": a_set(1)}
    kinds = set_exhibits.kind_table(sets).groupby("model")["kind"].unique()
    assert "undecided" in kinds["noisy"] and "[MASK]" not in kinds["noisy"]
    assert "[MASK]" in kinds["masked"] and "undecided" not in kinds["masked"]
    assert "[MASK]" in set_exhibits.kinds_over_steps(sets, -1).table.columns


def told(shown: set_exhibits.Shown) -> list[str]:
    """Every text of an exhibit: what is said, its formulas, figure and table."""
    return [shown.title, shown.told, shown.formula, shown.figure.to_json(), shown.table.to_csv()]
