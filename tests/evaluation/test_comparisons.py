"""The random-weight reference, forward-noised text and the ablation of sinks."""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from analysis import jobs
from analysis.attention import BlockedKeys, MassObserver
from analysis.calibration import noise as calibration
from analysis.errors import UserError
from analysis.models.load import load
from analysis.models.resident import resident_model
from analysis.recording.ablation import CHOOSERS, Candidates
from analysis.recording.trajectory_file import open_trajectory
from analysis.specs import (
    AblateSpec,
    AutoregressiveSampling,
    LLaDASampling,
    ModelSpec,
    NoiseSpec,
    RecordSpec,
    ReferenceSpec,
)
from tests.helpers import QuietContext, save_tiny

CPU = ModelSpec(device="cpu")


@pytest.fixture(scope="module")
def causal(tmp_path_factory) -> ModelSpec:
    folder = save_tiny(tmp_path_factory.mktemp("causal"), LlamaForCausalLM, LlamaConfig)
    return ModelSpec(source=str(folder), device="cpu")


def reference_spec(trajectory, model=CPU, seed=0) -> ReferenceSpec:
    inputs = tuple(trajectory.input_tokens(step) for step in range(trajectory.steps))
    return ReferenceSpec(model=model, inputs=inputs, prompt_length=trajectory.info.prompt_length, seed=seed)


# --- random weights ---------------------------------------------------------------------------------------------


def test_the_reference_has_the_same_inputs_and_other_weights(trajectory, tmp_path):
    runs = [jobs.reference(reference_spec(trajectory, seed=seed), QuietContext(tmp_path)) for seed in (0, 0, 1)]
    first, again, other = (open_trajectory(run.file) for run in runs)
    np.testing.assert_array_equal(first.tokens, trajectory.tokens)
    np.testing.assert_array_equal(first.undecided, trajectory.undecided)
    assert first.mass.shape == trajectory.mass.shape
    np.testing.assert_array_equal(first.mass, again.mass)
    assert not np.array_equal(first.mass, other.mass)
    assert not np.allclose(first.mass, trajectory.mass, atol=0.1)
    assert first.info.sampling.weights == "matched"
    assert runs[0].key == runs[1].key != runs[2].key


def test_an_input_of_one_token_has_a_reference_too(tmp_path):
    """Of one key no query's logits spread, so there is nothing to bring them to."""
    asked = ReferenceSpec(model=CPU, inputs=((5,),), prompt_length=1)
    drawn = open_trajectory(jobs.reference(asked, QuietContext(tmp_path)).file)
    assert np.allclose(drawn.mass, 1)


def test_the_reference_leaves_the_model_as_it_was(trajectory, tmp_path):
    context = QuietContext(tmp_path)
    model = resident_model(CPU, context)
    before = model.predict(torch.arange(10)[None])
    jobs.reference(reference_spec(trajectory), context)
    assert resident_model(CPU, context) is model
    assert torch.equal(model.predict(torch.arange(10)[None]), before)


def test_a_causal_recording_has_a_causal_reference(causal, tmp_path):
    spec = RecordSpec(model=causal, prompt="w7 w8", sampling=AutoregressiveSampling(gen_length=4))
    recording = open_trajectory(jobs.record(spec, QuietContext(tmp_path)).file)
    reference = open_trajectory(jobs.reference(reference_spec(recording, causal), QuietContext(tmp_path)).file)
    assert reference.steps == recording.steps
    assert np.isnan(reference.mass[0, :, :, -1]).all()


# --- forward noise ----------------------------------------------------------------------------------------------


def test_noise_levels_and_probabilities_are_the_papers():
    assert calibration.noise_levels(50, 10) == [50, 40, 30, 20, 10]
    assert calibration.mask_probability(50, 50, 1e-3) == 1
    assert calibration.mask_probability(25, 50, 1e-3) == pytest.approx(0.5005)
    tokens = np.arange(20_000) + 5
    noised = calibration.noised(tokens, 0.3, 1, np.random.default_rng(0))
    assert (noised == 1).mean() == pytest.approx(0.3, abs=0.02)
    assert (noised[noised != 1] == tokens[noised != 1]).all()


def test_noised_text_goes_from_all_masks_to_few(trajectory, tmp_path):
    spec = NoiseSpec(
        model=CPU,
        tokens=tuple(trajectory.final.tolist()),
        prompt_length=trajectory.info.prompt_length,
        step_interval=10,
    )
    noised = open_trajectory(jobs.noise(spec, QuietContext(tmp_path)).file)
    shares = noised.undecided.mean(axis=1)
    assert noised.steps == 5
    assert shares[0] == 1
    assert shares[-1] < 0.6
    np.testing.assert_array_equal(noised.final, trajectory.final)
    kept = ~noised.undecided
    assert (noised.tokens[kept] == np.broadcast_to(trajectory.final, noised.tokens.shape)[kept]).all()


def test_a_causal_model_has_no_forward_noise(causal, tmp_path):
    with pytest.raises(UserError, match="no mask token"):
        jobs.noise(NoiseSpec(model=causal, tokens=(5, 6), prompt_length=1), QuietContext(tmp_path))


# --- ablation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bundled", "causal"])
def test_nobody_attends_to_a_blocked_key(bundled, causal, kind):
    model = bundled if kind == "bundled" else load(causal)
    ids = torch.arange(5, 25)[None]
    blocked = torch.zeros(20, dtype=torch.bool)
    blocked[[0, 7]] = True
    observer = MassObserver()
    logits = model.predict(ids, observer, BlockedKeys(blocked))
    mass = observer.take().mass
    if kind == "bundled":  # in a causal model the first query, left without any key, has no attention to speak of
        assert mass[..., blocked].abs().max() == 0
    assert torch.isfinite(logits).all()
    changed = ids.clone()
    changed[0, 7] = 40
    other = model.predict(changed, edit=BlockedKeys(blocked))
    untouched = [position for position in range(20) if position != 7]
    assert torch.allclose(other[0, untouched], logits[0, untouched], atol=1e-5), "a blocked key's content is not seen"


def test_blocking_nothing_changes_nothing(bundled):
    ids = torch.arange(5, 25)[None]
    nothing = torch.zeros(20, dtype=torch.bool)
    assert torch.allclose(bundled.predict(ids, edit=BlockedKeys(nothing)), bundled.predict(ids), atol=1e-5)


def candidates(total, count):
    nothing, everywhere = np.zeros(len(total)), np.ones(len(total), bool)
    sinks = total > 7.5
    return Candidates(total, sinks, nothing, nothing, nothing, everywhere, count, np.random.default_rng(0))


def test_targets_choose_what_they_say():
    total = np.array([1.0, 9.0, 2.0, 8.0, 7.0, 3.0])
    assert set(CHOOSERS["sinks"](candidates(total, 2))) == {1, 3}
    assert set(CHOOSERS["others"](candidates(total, 2))) == {4, 5}
    assert set(CHOOSERS["first"](candidates(total, 2))) == {0}
    assert set(CHOOSERS["random"](candidates(total, 2))) < {0, 2, 4, 5}


def test_ablation_compares_sinks_with_their_controls(bundled, tmp_path):
    ids, _ = bundled.encode("one day ben goes to the zoo .", "auto")
    spec = AblateSpec(model=CPU, prompt=tuple(ids), sampling=LLaDASampling(gen_length=8, steps=2))
    first, again = (jobs.ablate(spec, QuietContext(tmp_path)) for _ in range(2))
    rows = {row["target"]: row for row in first.summary["rows"]}
    assert list(rows) == ["untouched", "sinks", "matched", "masked", "mass", "others", "first"]
    assert rows["untouched"]["agreement"] == 1
    for row in rows.values():
        assert len(row["same"]) == len(row["words"]) == 8
        assert row["aligned"] == pytest.approx(np.mean(row["same"])) and row["aligned"] >= row["agreement"]
        assert sum(row["missing"]) <= row["same"].count(False)
        plain = iter(rows["untouched"]["words"])
        assert all(word in plain for word, same in zip(row["words"], row["same"], strict=True) if same), "in order"
    blocked = {target: row["blocked_share"] for target, row in rows.items()}
    assert blocked["mass"] == pytest.approx(blocked["sinks"], rel=0.1)
    assert first.summary["steps"] == 2 and 0 < first.summary["steps_with_sinks"] <= 2
    assert blocked["sinks"] > blocked["others"] > blocked["untouched"] == 0
    assert all(0 <= row["agreement"] <= 1 and 0 < row["confidence"] <= 1 for row in rows.values())
    assert first.summary == again.summary


def test_ablation_works_on_the_autoregressive_reference(causal, tmp_path):
    spec = AblateSpec(model=causal, prompt=(7, 8, 9), sampling=AutoregressiveSampling(gen_length=5))
    rows = jobs.ablate(spec, QuietContext(tmp_path)).summary["rows"]
    assert len(rows) == 6


def test_an_ablation_without_a_sink_blocks_nothing_and_says_so(bundled, tmp_path):
    spec = AblateSpec(model=CPU, prompt=(7, 8, 9), sampling=LLaDASampling(gen_length=4, steps=2), sinks={"k": 6.0})
    summary = jobs.ablate(spec, QuietContext(tmp_path)).summary
    assert summary["steps_with_sinks"] == 0
    assert all(row["blocked_share"] == 0 and row["aligned"] == 1 for row in summary["rows"])
