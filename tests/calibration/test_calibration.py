"""Calibration text and what a model's activations on it say."""

import json

import numpy as np
import pytest
import torch
from scipy import stats

from analysis.attention import LayerMassObserver, MassObserver
from analysis.calibration.activations import distinct_rows, feature_scores, kept_bytes, mean_token_weights
from analysis.calibration.noise import noised_sequences, shared_levels
from analysis.calibration.runners import Resident, Streamed
from analysis.calibration.text import calibration_text
from analysis.errors import UserError
from analysis.models.blocks import skeleton
from analysis.specs import CalibrationParams, DiscountParams, ModelSpec
from tests.conftest import over_golden

SETTINGS = {
    "control": None,
    "published": DiscountParams(),
    "mean over steps": DiscountParams(sink_steps="mean"),
    "own sinks a layer": DiscountParams(sink_scope="layer"),
}


def text(params: CalibrationParams, model, tokenizer=True):
    return calibration_text(
        params, model.tokenizer if tokenizer else None, model.geometry.max_length, model.geometry.vocabulary
    )


# --- text -------------------------------------------------------------------------------------------------------


def test_bundled_text_follows_the_seed_and_is_capped_at_the_model(bundled):
    params = CalibrationParams(samples=3, seed=5)
    found = text(params, bundled)
    assert found.tokens.shape == (3, bundled.geometry.max_length)
    assert "capped" in found.note
    assert np.array_equal(found.tokens, text(params, bundled).tokens)
    assert not np.array_equal(found.tokens, text(params.model_copy(update={"seed": 6}), bundled).tokens)


def test_more_samples_begin_with_the_same_ones(bundled):
    few, many = (text(CalibrationParams(samples=n, seq_len=32), bundled).tokens for n in (2, 6))
    assert np.array_equal(few, many[:2])
    params = CalibrationParams(samples=2, seq_len=32)
    assert np.array_equal(
        noised_sequences(few, params, bundled.mask_token), noised_sequences(many, params, bundled.mask_token)[:2]
    )


def test_a_text_file_is_cut_into_windows_that_do_not_overlap(bundled, tmp_path):
    path = tmp_path / "own.txt"
    path.write_text(" ".join(f"{number} apples ." for number in range(300)), encoding="utf-8")
    found = text(CalibrationParams(data=str(path), samples=5, seq_len=16), bundled)
    ids = bundled.tokenizer(path.read_text()).input_ids
    starts = [next(i for i in range(0, len(ids), 16) if ids[i : i + 16] == row.tolist()) for row in found.tokens]
    assert len(set(starts)) == 5


def test_too_little_text_says_how_much_is_there(bundled, tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("Mia was hungry . " * 10, encoding="utf-8")
    count = len(bundled.tokenizer(path.read_text()).input_ids)
    with pytest.raises(UserError, match=r"holds \d+ tokens") as caught:
        text(CalibrationParams(data=str(path), samples=100, seq_len=16), bundled)
    assert abs(int(str(caught.value).split("holds ")[1].split()[0]) - count) <= 1


def test_json_lines_hold_text_or_token_ids(bundled, tmp_path):
    path = tmp_path / "own.jsonl"
    rows = [list(range(5, 15)), list(range(20, 30))]
    path.write_text("".join(json.dumps({"input_ids": row}) + "\n" for row in rows), encoding="utf-8")
    found = text(CalibrationParams(data=str(path), samples=2, seq_len=10), bundled, tokenizer=False)
    assert sorted(found.tokens.tolist()) == rows
    path.write_text(json.dumps({"text": "Mia was at the river . " * 20}) + "\n", encoding="utf-8")
    assert text(CalibrationParams(data=str(path), samples=2, seq_len=10), bundled).tokens.shape == (2, 10)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not json\n", "Line 1"),
        ('{"text": 5}\n', "neither text"),
        ('{"input_ids": [1, 99999999]}\n', "outside this model's vocabulary"),
        ('{"input_ids": ["a"]}\n', "outside this model's vocabulary"),
        ('{"other": 1}\n', "Line 1"),
    ],
)
def test_damaged_json_lines_are_named(bundled, tmp_path, content, message):
    path = tmp_path / "own.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        text(CalibrationParams(data=str(path), samples=1, seq_len=8), bundled)


@pytest.mark.parametrize(
    ("data", "message"),
    [("nowhere.txt", "no file"), ("book.pdf", "no calibration text"), ("imaginary", "no calibration")],
)
def test_unknown_sources_are_named(bundled, data, message):
    with pytest.raises(UserError, match=message):
        text(CalibrationParams(data=data, samples=1), bundled)


def test_a_text_from_the_hub_without_a_network_names_the_way_out(bundled, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"allenai/c4.*bundled text"):
        text(CalibrationParams(data="c4", samples=1), bundled)


# --- noise ------------------------------------------------------------------------------------------------------


def test_noise_rises_to_all_masked():
    tokens = np.full((4, 2000), 7)
    rows = noised_sequences(tokens, CalibrationParams(samples=4), mask_token=1)
    assert rows.shape == (4, 10, 2000)
    assert set(np.unique(rows)) == {1, 7}
    share = (rows == 1).mean(axis=(0, 2))
    expected = [(1 - 1e-3) * step / 50 + 1e-3 for step in range(5, 51, 5)]
    assert share == pytest.approx(expected, abs=0.02)
    assert (rows[:, -1] == 1).all()


def test_noise_by_steps_is_drawn_step_by_step():
    """The bits of earlier versions: one draw after the other, from the least noise up."""
    params = CalibrationParams(samples=2, seed=7, step_interval=10)
    tokens = np.arange(200).reshape(2, 100) + 5
    for index, rows in enumerate(noised_sequences(tokens, params, mask_token=1)):
        rng = np.random.default_rng((7, index))
        for step, row in zip((10, 20, 30, 40, 50), rows, strict=True):
            masked = rng.random(100) < (1 - 1e-3) * step / 50 + 1e-3
            assert np.array_equal(row, np.where(masked, 1, tokens[index]))


def test_uniform_noise_is_that_of_the_published_dream_script():
    """t uniform for each sequence and step whatever the step, p = (1 − ε)·t + ε, and the two ends kept."""
    params = CalibrationParams(samples=300, noise="uniform", noise_eps=0.1)
    tokens = np.full((300, 402), 7)
    rows = noised_sequences(tokens, params, mask_token=1)
    assert rows.shape == (300, 10, 402) and (rows[..., [0, -1]] == 7).all()
    shares = (rows[..., 1:-1] == 1).mean(axis=2)
    # The share of a row is that of its own u: over rows uniform between ε and 1, at every step alike.
    assert stats.kstest(shares.ravel(), stats.uniform(0.1, 0.9).cdf).pvalue > 0.01
    assert stats.kruskal(*shares.T).pvalue > 0.01
    assert len(np.unique(shares)) > 300
    again = noised_sequences(tokens[:3], params, mask_token=1)
    assert np.array_equal(again, rows[:3])
    assert not np.array_equal(again, noised_sequences(tokens[:3], params.model_copy(update={"seed": 1}), 1))
    assert noised_sequences(np.array([[5]]), params, 1).shape == (1, 10, 1)


def test_steps_that_mask_everything_are_one_row_for_all_texts():
    tokens = np.arange(2000).reshape(4, 500) + 5
    for params in (
        CalibrationParams(),
        CalibrationParams(noise_eps=0.0, step_interval=7),
        CalibrationParams(noise="uniform"),
    ):
        rows = noised_sequences(tokens, params, mask_token=1)
        assert shared_levels(params) == (rows == 1).all(axis=(0, 2)).sum()


# --- activations ------------------------------------------------------------------------------------------------


def test_mass_by_layer_is_the_sum_over_heads(golden):
    model, expected, _ = golden
    tokens = expected["noisy_ids"][:, 0]
    by_head, by_layer = MassObserver(), LayerMassObserver()
    model.predict(tokens, by_head)
    hidden = model.hidden(tokens, by_layer)
    assert hidden.shape == (*tokens.shape, model.geometry.hidden)
    assert torch.allclose(by_head.take().mass.sum(dim=2), by_layer.take(), atol=1e-4)


def test_equal_rows_are_run_once():
    tokens = np.array([[1, 2], [3, 4], [1, 2], [5, 6]])
    batches = list(distinct_rows(tokens, 2))
    assert [rows.tokens.tolist() for rows in batches] == [[[1, 2], [3, 4]], [[5, 6]]]
    assert [[members.tolist() for members in rows.members] for rows in batches] == [[[0, 2], [1]], [[3]]]


def slow_scores(model, rows, weights):
    """s of one projection an input, one sequence and level after the other, all projections hooked."""
    sums = {}
    for n in range(rows.shape[0]):
        for t in range(rows.shape[1]):
            seen = {}
            handles = [
                module.register_forward_pre_hook(
                    lambda module, inputs, key=(layer, name), seen=seen: seen.__setitem__(key, inputs[0][0].clone())
                )
                for layer, block in enumerate(model.blocks)
                for name, module in model.projections(block).items()
            ]
            model.predict(torch.from_numpy(rows[n, t])[None])
            for handle in handles:
                handle.remove()
            for (layer, name), states in seen.items():
                weight = torch.tensor(weights[n, t, layer])
                norm = (weight[:, None] * states).norm(dim=0).double()
                sums[layer, name] = sums.get((layer, name), 0) + norm
    return sums


@over_golden(name=SETTINGS)
def test_scores_equal_a_slow_loop_and_every_way_gives_the_same_bits(golden, name):
    from analysis.sinks.discount import token_weights

    model, expected, _ = golden
    discount = SETTINGS[name]
    rows = expected["noisy_ids"].numpy().astype(np.int64)
    shape = (*rows.shape[:2], model.geometry.layers, rows.shape[-1])
    weights = np.ones(shape, np.float32)
    if discount is not None:
        weights = np.broadcast_to(token_weights(expected["attention_mass"].numpy(), discount), shape)
    one = feature_scores(Resident(model), rows, discount, budget=2**40)
    for (layer, projection), slow in slow_scores(model, rows, weights).items():
        assert one.scores[layer][projection] == pytest.approx(slow, rel=1e-4)
    streamed = Streamed(skeleton(model.spec), budget=20_000)
    for other in (feature_scores(Resident(model), rows, discount, 0), feature_scores(streamed, rows, discount, 0)):
        for layer, scores in enumerate(one.scores):
            assert all(torch.equal(score, other.scores[layer][projection]) for projection, score in scores.items())


def test_the_byte_budget_decides_between_one_forward_and_two(golden):
    model, expected, _ = golden
    rows = expected["noisy_ids"].numpy().astype(np.int64)
    runner = Resident(model)
    need = kept_bytes(runner, rows.shape[0] * rows.shape[2])
    kept = feature_scores(runner, rows, DiscountParams(), need)
    twice = feature_scores(runner, rows, DiscountParams(), need - 1)
    assert kept.facts == {"mode": "one forward", "forwards": 5, "rows_a_forward": 10, "kept_bytes": need}
    assert twice.facts == {"mode": "two passes", "forwards": 10, "rows_a_forward": 10, "kept_bytes": 0}


def test_a_forward_ends_with_the_last_thing_asked_for(golden):
    """Of the last block nobody reads what follows its attention mass, or its last projection's input."""
    model, expected, _ = golden
    rows = expected["noisy_ids"].numpy().astype(np.int64)
    last, ran = model.blocks[-1], []
    handles = [
        module.register_forward_hook(lambda module, inputs, output, name=name: ran.append(name))
        for name, module in model.projections(last).items()
    ]
    runner, batch = Resident(model), torch.from_numpy(rows[:, 0])
    ran.clear()
    runner.masses([batch], lambda: None)
    assert sorted(ran) == ["self_attn.k_proj", "self_attn.q_proj", "self_attn.v_proj"]
    ran.clear()
    runner.inputs([batch], lambda *shown: None, lambda: None)
    assert len(ran) == 6 and "mlp.down_proj" not in ran
    ran.clear()
    runner.mass_and_inputs(batch, lambda *shown: None)
    assert len(ran) == 6 and "mlp.down_proj" not in ran
    for handle in handles:
        handle.remove()


def test_four_distinct_inputs_a_block(golden):
    model, _, _ = golden
    assert [len(group) for group in Resident(model).groups] == [4] * model.geometry.layers


def test_mean_token_weights_equal_the_published_scores(golden):
    model, expected, _ = golden
    rows = expected["noisy_ids"].numpy().astype(np.int64)
    weights = mean_token_weights(Resident(model), rows, DiscountParams(), lambda done, total: None)
    assert weights.shape == (4, 1, 48)
    assert abs(weights[:, 0] - (1 - expected["soft_sink_score"].mean(dim=1).numpy())).max() < 1e-5


def test_a_skeleton_holds_no_block_and_reads_what_load_reads(golden):
    model, _, _ = golden
    bare = skeleton(model.spec)
    assert all(weight.is_meta for weight in bare.blocks.parameters())
    assert bare.fingerprint == model.fingerprint
    with pytest.raises(UserError, match="not on this disk"):
        skeleton(ModelSpec(source="nobody/nothing"))
