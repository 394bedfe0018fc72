"""The shipped pair: small enough, loadable by the same road as published models, described by its cards as it is."""

import json
import math
from collections import Counter

import numpy as np
import pytest
import torch
from safetensors import safe_open

from analysis.bundled.prompts import prompts
from analysis.findings import layers
from analysis.models.load import load
from analysis.models.loaded import LoadedModel
from analysis.recording import set_measures
from analysis.specs import ModelSpec
from tests.recording.made_sets import a_set
from training import measure, readings, report, tokenizer, verdicts


@pytest.fixture(scope="module", params=list(report.FOLDERS))
def pair(request) -> tuple[str, LoadedModel]:
    return request.param, load(ModelSpec(source=str(report.FOLDERS[request.param]), device="cpu"))


def test_together_they_stay_under_40_megabytes():
    size = sum(path.stat().st_size for folder in report.FOLDERS.values() for path in folder.rglob("*"))
    assert size <= 40e6


def test_they_are_what_they_are_called(pair):
    kind, model = pair
    config = json.loads((report.FOLDERS[kind] / "config.json").read_text(encoding="utf-8"))
    weights = report.FOLDERS[kind] / "model.safetensors"
    with safe_open(weights, "pt") as file:
        names = set(file.keys())
        assert all(file.get_slice(name).get_dtype() == "BF16" for name in names)
    if kind == "diffusion":
        assert config["model_type"] == "llada"
        assert model.mask_token == config["mask_token_id"] == model.tokenizer.mask_token_id
        assert "model.transformer.blocks.0.ff_proj.weight" in names
    else:
        assert config["model_type"] == "llama"
        assert model.mask_token is None
        assert "model.layers.0.mlp.gate_proj.weight" in names
    assert model.geometry.layers >= 6
    assert model.geometry.max_length == 256


@pytest.fixture(scope="module")
def counted():
    """The pieces of the grammar's text, counted in a twelfth of it; all of it takes the script 20 s."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_SAMPLE_DOCUMENTS", "_SAMPLE_QUESTIONS"):
            patch.setattr(tokenizer, name, getattr(tokenizer, name) // 12)
        yield tokenizer._count.__wrapped__(0)


def test_the_tokenizer_is_the_grammars(pair, counted, monkeypatch):
    """Whole, so that other tests can take the one that ships: built of the counts that its scores are of, which are
    those of the grammar's text."""
    _, model = pair
    pieces = json.loads(model.tokenizer.backend_tokenizer.to_str())["model"]["vocab"]
    scores = dict(pieces[len(tokenizer.SPECIAL) + 256 :])
    rarest = pieces[len(tokenizer.SPECIAL)][1] + 8  # bytes are below it
    times = {piece: math.exp(score - rarest) for piece, score in scores.items() if score >= rarest}
    least = next(n for n in range(1, 99) if all(abs(n * share - round(n * share)) < 1e-3 for share in times.values()))
    counts = Counter({piece: round(least * share) for piece, share in times.items()})
    monkeypatch.setattr(tokenizer, "_count", lambda seed: counts)
    built = tokenizer.build_tokenizer()
    assert model.tokenizer.get_vocab() == built.get_vocab()
    assert model.tokenizer.backend_tokenizer.to_str() == built.backend_tokenizer.to_str()
    assert model.tokenizer.special_tokens_map == built.special_tokens_map
    assert model.tokenizer.model_max_length == built.model_max_length
    text = "Tom had 3 apples. He bought 2 more."
    assert model.tokenizer(text)["input_ids"] == built(text)["input_ids"]
    assert counted.keys() <= counts.keys()
    for piece, count in counts.items():
        expected = count * counted.total() / counts.total()
        assert abs(counted[piece] - expected) < 6 * math.sqrt(expected) + 6, (piece, counted[piece], expected)


def test_the_pair_has_the_same_blocks():
    shapes = []
    for folder in report.FOLDERS.values():
        network = load(ModelSpec(source=str(folder), device="cpu")).network
        shapes.append({name: tuple(value.shape) for name, value in network.state_dict().items()})
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(("task", "least"), [("agreement", 0.85), ("knowledge", 0.7), ("physical", 0.7)])
def test_it_can_do_what_the_card_says(pair, task, least):
    """On dev items, far enough below the card that chance does not fail it."""
    _, model = pair
    assert measure.correct(model, task, "dev", 60).mean() >= least


def test_the_cards_say_what_was_measured(pair):
    """Each README is what the script writes from the numbers, and the numbers are of these very weights."""
    kind, _ = pair
    card = (report.FOLDERS[kind] / "README.md").read_text(encoding="utf-8")
    assert card == report.card(kind)
    assert report.read(kind, report.MEASUREMENTS)["weights"] == readings.digest(report.FOLDERS[kind] / readings.WEIGHTS)


def test_the_measured_loss_is_this_models_and_pruning_hurts_in_the_end(pair):
    kind, model = pair
    one = measure.loss(model, 1)
    assert abs(one - report.read(kind, report.MEASUREMENTS)["loss"]) < 0.25
    pruned = measure.pruned_copy(model, "magnitude", 0.9)
    assert measure.loss(pruned, 1) > one + 0.5


def test_prompts_lead_to_held_out_combinations():
    assert prompts(10) == prompts(10) == prompts(75)[:10]
    assert len(set(prompts(1000))) == 1000


# --- the statistics of the cards --------------------------------------------------------------------------------


def test_the_cards_intervals_are_clustered_by_key():
    """Two tasks of equal weight; items of one key that are answered alike count as one, in shares and differences."""
    right = np.array([True, True, False, False, True, True, False, True])
    clusters = {task: np.repeat(np.arange(4), 2) for task in ("one", "two")}
    alone = {task: np.arange(8) for task in clusters}
    scored = [measure.Scored("dense", 0.0, dict.fromkeys(clusters, right), 1.0)]
    for sparsity in measure.SPARSITIES:
        for method in measure.METHODS:
            answers = ~right if method == "magnitude" else right
            scored.append(measure.Scored(method, sparsity, dict.fromkeys(clusters, answers), 2.0))
    found, independent = measure.summary(scored, clusters), measure.summary(scored, alone)
    assert found["items"] == {"one": 8, "two": 8} and found["effective_clusters"] == {"one": 4, "two": 4}
    row, other = found["rows"][0], independent["rows"][0]
    assert row["mean"][0] == other["mean"][0] == right.mean()
    assert row["tasks"]["one"][2] - row["tasks"]["one"][1] > other["tasks"]["one"][2] - other["tasks"]["one"][1]
    difference = found["differences"][0]["magnitude - wanda"]
    assert difference[0] == (1 - 2 * right.mean())
    assert difference[2] - difference[1] > np.diff(independent["differences"][0]["magnitude - wanda"][1:])[0]


def test_a_card_tells_of_sinks_what_the_set_of_recordings_shows():
    recordings = a_set(0)
    told = json.loads(json.dumps(measure.set_statistics(recordings)))
    shares = set_measures.of_all_kinds(recordings, "corrected-share").value
    assert [row[0] for row in told["by_scope"]["corrected-share"]["trained"]] == pytest.approx(
        shares.tolist(), abs=1e-6
    )
    assert told["words"] == layers.words({"": recordings})[""]
    rows = report._sinks(told).splitlines()[2:]
    assert len(rows) == len(recordings.scopes) and f"{shares[-1]:.2f} (" in rows[-1]
    assert all(title in report._moves(told) for title, _ in report._MOVES.values())
    assert report._said(told | {"words": []}) == "- Nothing lies beyond its nulls."


def test_an_interval_covers_its_mean():
    values = torch.arange(20).double().numpy()
    mean, low, high = measure.mean_interval(values)
    assert low < mean == 9.5 < high
    assert measure.mean_interval(values * 0 + 3) == [3, 3, 3]


@pytest.mark.parametrize(
    ("text", "number"), [("7 - 3 = 4. So he has 4 apples.", "4"), ("no such thing", None), ("he has", None)]
)
def test_the_written_number(text, number):
    assert measure._result(text) == number


def test_a_missed_bar_is_said():
    missed, met = verdicts._bar("x", 0.80, 0.85), verdicts._bar("x", 0.85, 0.85)
    assert not missed.met and missed.sentence == "x: 80.0 (bar 85, short by 5.0 points). **Missed.**"
    assert met.met and met.sentence == "x: 85.0 (bar 85). Met."


def test_a_card_counts_the_trainings_that_meet_a_bar_and_shows_the_layers_of_each(tmp_path, monkeypatch):
    """A training whose fall at 70 % is short of the bar, and whose sinks lie beyond the nulls in one layer fewer."""
    monkeypatch.setattr(readings, "READINGS", tmp_path)
    monkeypatch.setattr(report, "READINGS", tmp_path)
    name = "diffusion: fall at 70% sparsity"
    shipped = {one.name: one for one in verdicts.verdicts()}[name]
    beyond = report.read("diffusion", report.MEASUREMENTS)["sinks"]["beyond"]
    claim, layers = next((what, layers) for what, layers in beyond.items() if len(layers) > 1)
    for kind in readings.KINDS:
        measured, training = report.read(kind, report.MEASUREMENTS), report.read(kind, report.TRAINING)
        dense = measured["pruning"]["rows"][0]["mean"]
        for row in measured["pruning"]["rows"]:
            row["mean"] = dense
        measured["sinks"]["beyond"][claim] = layers[:-1]
        measure.save(measured, tmp_path / "seed-5" / kind / readings.MEASUREMENTS)
        measure.save(training | {"seed": 5}, tmp_path / "seed-5" / kind / readings.TRAINING)
    assert list(readings.trainings()) == [0, 5]
    assert shipped.met and f"{shipped.sentence} Met in 1 of 2 trainings." in verdicts.verdict_lines()
    row = next(line for line in verdicts.beyond_table("diffusion").splitlines() if line.startswith(f"| {claim} |"))
    both = [", ".join(map(str, of)) for of in (layers, layers[:-1])]
    assert row == f"| {claim} | {both[0]} | {both[1]} | 2 of 2 |"
    assert "| seed 0 | seed 5 |" in report.card("diffusion")


def test_the_readings_of_other_trainings_are_of_the_same_recipe():
    kept = readings.trainings()
    for kind in readings.KINDS:
        trained = [report.read(kind, report.TRAINING, pair) for pair in kept.values()]
        assert [one["seed"] for one in trained] == list(kept)
        assert all((one["recipe"], one["tokens"]) == (trained[0]["recipe"], trained[0]["tokens"]) for one in trained)
        beyond = [report.read(kind, report.MEASUREMENTS, pair)["sinks"]["beyond"] for pair in kept.values()]
        assert all(one.keys() == beyond[0].keys() for one in beyond), "a finding is counted in some trainings alone"
