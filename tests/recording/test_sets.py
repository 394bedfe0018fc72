"""Recording many prompts together: the same as alone; the file; the job."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from analysis.errors import UserError
from analysis.exhibits import recording_sets
from analysis.exhibits.inside_sets import queries_apart, queries_over_prompts
from analysis.findings import sets as set_findings
from analysis.jobs import JOBS
from analysis.models.load import load, random_like
from analysis.recording import set_measures
from analysis.recording.batches import batches, recorded, replayed
from analysis.recording.denoising import denoise
from analysis.recording.set_file import SHAPES, RecordingSet, open_set
from analysis.recording.trajectory import PADDING, record
from analysis.sinks import definitions
from analysis.sinks.definitions import mean_of_finite
from analysis.sinks.metrics import HEAD_METRICS, Heads, of_mass
from analysis.sinks.movement import MOVEMENT_NULLS
from analysis.sinks.step_inputs import ALL
from analysis.specs import AutoregressiveSampling, LLaDASampling, ModelSpec, RecordSetSpec, SinkParams
from tests.helpers import QuietContext, there, tiny_llada
from tests.recording.made_sets import a_set

PROMPTS = ("mia has a dog .", "ben has a red cat .", "the dog is big .", "mia and ben go home .", "the cat is red .")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return ModelSpec(source=tiny_llada(tmp_path_factory.mktemp("tiny") / "model", 0), device="cpu")


@pytest.fixture(scope="module")
def recorded_set(small: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> tuple[RecordingSet, Path, QuietContext]:
    context = QuietContext(tmp_path_factory.mktemp("set"))
    spec = RecordSetSpec(
        model=small,
        prompts="own",
        own_prompts=PROMPTS,
        sampling=LLaDASampling(gen_length=8, steps=8, block_length=4),
        null_prompts=3,
        by_query=True,
    )
    outcome = there(JOBS["record_set"].run)(spec, context)
    assert outcome.file is not None and outcome.key is not None
    return open_set(outcome.file), outcome.file, context


def test_a_set_tells_how_far_apart_undecided_and_written_queries_look_where_asked(recorded_set) -> None:
    recordings, _, _ = recorded_set
    apart, permuted = (recordings.part("trained")[name] for name in ("apart", "apart_permuted"))
    assert apart.shape == permuted.shape == (len(PROMPTS), recordings.layers)
    assert ((apart > 0) & (apart < 1) & (permuted > 0) & (permuted < 1)).all()
    shown = there(queries_apart(recordings))
    assert set(shown.table["of"]) == {"undecided against written", "states permuted"}
    assert shown.finding == "", "five prompts are too few for a claim"
    assert queries_apart(replace(recordings, info=recordings.info.model_copy(update={"by_query": False}))) is None


def test_queries_are_said_to_look_at_different_tokens_only_beyond_the_permuted_ones() -> None:
    rng = np.random.default_rng(0)
    permuted = rng.uniform(0.2, 0.3, (40, 3))
    apart = permuted + np.array([0.0, 0.2, 0.2]) + rng.normal(0, 0.01, (40, 3))
    _, [sentence] = queries_over_prompts(apart, permuted)
    assert "undecided and written queries attend to different tokens" in sentence and "0" not in sentence.split(":")[0]
    assert queries_over_prompts(apart, permuted, np.arange(40) // 2)[1] == [], "20 templates are too few"


def test_a_set_that_is_stopped_keeps_what_is_finished(recorded_set, small, tmp_path, monkeypatch) -> None:
    whole, _, _ = recorded_set
    spec = RecordSetSpec(
        model=small,
        prompts="own",
        own_prompts=PROMPTS,
        sampling=LLaDASampling(gen_length=8, steps=8, block_length=4),
        null_prompts=3,
    )
    monkeypatch.setattr("analysis.recording.batches.MOST_ROWS", 2)
    context = QuietContext(tmp_path)
    context.stop = True  # from the first step on
    outcome = there(JOBS["record_set"].run)(spec, context)
    assert outcome.file is not None and outcome.key is not None and outcome.stopped
    count, planned = outcome.summary["prompts"], outcome.summary["planned"]
    assert 2 <= count < planned == len(PROMPTS) and outcome.key.endswith(f"-{count}-0")
    part = open_set(outcome.file)
    texts = [prompt.text for prompt in part.info.prompts]
    assert any(f"Stopped after {count} of 5 prompts" in note for note in part.info.notes)
    assert part.info.random_seeds == ()
    places = [[prompt.text for prompt in whole.info.prompts].index(text) for text in texts]
    for name in ("trained.sinks", "trained.share", "trained.births"):
        np.testing.assert_allclose(part.arrays[name], whole.arrays[name][places], rtol=1e-5)

    class AfterTheFirstModel(QuietContext):
        @property
        def stopping(self) -> bool:
            return any("model 2" in phase for phase, *_ in self.said)

    (tmp_path / "later").mkdir()
    later = there(JOBS["record_set"].run)(spec, AfterTheFirstModel(tmp_path / "later"))
    assert later.file is not None and later.stopped and later.summary["prompts"] == len(PROMPTS)
    assert later.summary["random_models"] == 1 and len(open_set(later.file).info.random_seeds) == 1


@pytest.mark.parametrize(
    ("source", "sampling"),
    [
        ("small", LLaDASampling(gen_length=8, steps=8, block_length=4)),
        ("bundled-ar", AutoregressiveSampling(gen_length=5)),
    ],
)
def test_prompts_recorded_together_are_recorded_as_alone(source: str, sampling, small: ModelSpec) -> None:
    import torch

    model = load(small if source == "small" else ModelSpec(source=source, device="cpu"))
    prompts = [model.encode(text, "off")[0] for text in PROMPTS]
    assert len(batches(prompts, model.mask_token, 16)) < len(prompts)
    runs = {run.index: run for run in recorded(model, prompts, sampling, 0, 16, lambda sequences: None)}
    for index, ids in enumerate(prompts):
        steps = denoise(model, torch.tensor([ids]), sampling, 0)
        alone = record(steps, sampling.forwards(), sampling.length(len(ids)), "float32")
        assert runs[index].run.final.tolist() == alone["final"].tolist()
        for name, values in (("tokens", runs[index].tokens), ("state", runs[index].run.state)):
            assert (values == alone[name]).all(), name
        for name in ("queries", "open_block"):
            assert (getattr(runs[index].run.pattern, name) == alone[name]).all(), name
        np.testing.assert_allclose(runs[index].run.mass, alone["mass"].mean(axis=2), rtol=2e-3, atol=1e-4)
        np.testing.assert_allclose(runs[index].heads, alone["mass"], rtol=4e-3, atol=1e-3)


@pytest.mark.parametrize("source", ["small", "bundled-ar"])
def test_replaying_a_recording_through_its_own_model_gives_what_was_recorded(source: str, small: ModelSpec) -> None:
    model = load(small if source == "small" else ModelSpec(source=source, device="cpu"))
    sampling = LLaDASampling(gen_length=4, steps=4) if source == "small" else AutoregressiveSampling(gen_length=4)
    prompts = [model.encode(PROMPTS[0], "off")[0]]
    [run] = recorded(model, prompts, sampling, 0, 16, lambda sequences: None)
    again = replayed(model, run.without_mass(), 3, lambda sequences: None)
    np.testing.assert_allclose(again.run.mass, run.run.mass, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(again.heads, run.heads, rtol=2e-3, atol=1e-3)
    other = replayed(random_like(model, 1), run.without_mass(), 3, lambda sequences: None)
    assert not np.allclose(other.run.mass, run.run.mass, equal_nan=True)
    assert (np.isnan(other.run.mass[:, 0]) == (run.tokens == PADDING)).all()


def test_what_draws_at_random_is_recorded_one_by_one() -> None:
    assert LLaDASampling().same_alone and AutoregressiveSampling().same_alone
    assert not LLaDASampling(temperature=0.5).same_alone
    assert not LLaDASampling(remasking="random").same_alone


def test_a_set_holds_every_prompt_and_its_nulls(recorded_set) -> None:
    recordings, _, context = recorded_set
    assert [prompt.text for prompt in recordings.info.prompts] == list(PROMPTS)
    assert recordings.weight_nulls == ("random", "permuted", "matched")
    assert all(recordings.info.seeds_of(null) == (1, 2, 3) for null in recordings.weight_nulls)
    seen = np.isfinite(recordings.arrays["random.steps"])
    assert seen.sum(axis=1).tolist() == [3, 3, 3] and seen.any(axis=0).all()
    assert any("at a time at most" in line for line in context.logged)
    assert context.said[-1][1] == context.said[-1][2]
    shares = set_measures.by_kind(recordings, "portion")
    portion = shares.value
    assert np.nanmax(shares.high) <= 1 and np.nanmin(shares.low) >= 0, "of three prompts"
    told = np.isfinite(portion).all(axis=1)
    np.testing.assert_allclose(portion[told].sum(axis=1), 1)
    counts = set_measures.counts_over_steps(recordings, -1)
    np.testing.assert_allclose(counts.sum(axis=1), set_measures.curve(recordings, "count").value, rtol=1e-6)
    for measure in set_measures.MOVES:
        for null in MOVEMENT_NULLS:
            assert set_measures.moves(recordings, measure, null).value.shape == (recordings.layers + 1,)
            pair = set_measures.compared(recordings, measure, set_measures.MOVES[measure].parts, null)
            assert set_measures.excesses(recordings, [pair])[0].low.shape == (recordings.layers + 1,)


def test_parts_of_the_tokens_have_curves_of_their_own_and_add_up_to_all(recorded_set) -> None:
    recordings, *_ = recorded_set
    assert "[MASK] only" in set_measures.parts_of(recordings, "count")
    assert set_measures.parts_of(recordings, "gini") == (ALL,), "of which there is none of a part"
    for name in ("count", "strength"):
        whole, *parts = (
            set_measures.single_curves(recordings, name, 0, split=split)
            for split in (ALL, "[MASK] only", "without [MASK]")
        )
        np.testing.assert_allclose(sum(parts), whole, atol=1e-5)
    shown = recording_sets.curve({"tiny": recordings}, "count", 0, "[MASK] only", singles=True)
    assert set(shown.table["of"]) == {"mean", *(f"prompt {number}" for number in range(1, 6))}
    own = shown.table[shown.table["of"] == "prompt 2"]["number of sinks"].to_numpy()
    np.testing.assert_array_equal(own, set_measures.single_curves(recordings, "count", 0, split="[MASK] only")[1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "sinkscope-recording-set-0"}, "no set of recordings of this version: format must be"),
        ({"variants": None}, "no set of recordings of this version: variants"),
    ],
)
def test_a_set_of_another_format_is_refused(recorded_set, tmp_path: Path, change: dict, said: str) -> None:
    recordings, path, _ = recorded_set
    info = json.loads(recordings.info.model_dump_json()) | change
    save_file(load_file(path), tmp_path / "other.safetensors", {"sinkscope_set": json.dumps(info)})
    with pytest.raises(UserError, match=said):
        open_set(tmp_path / "other.safetensors")


def test_every_head_is_measured_as_in_a_recording_of_its_own(recorded_set, small: ModelSpec) -> None:
    import torch

    recordings, _, _ = recorded_set
    model, sampling, params = load(small), recordings.info.sampling, recordings.info.sinks
    alone = record(denoise(model, torch.tensor([model.encode(PROMPTS[1], "off")[0]]), sampling, 0), 8, 16, "float32")
    mass = alone["mass"]
    sinks = definitions.find_sinks(mass.mean(axis=(1, 2)), params)
    for name in of_mass():
        values = HEAD_METRICS[name].compute(Heads(mass, sinks, params))
        expected = mean_of_finite(values) if HEAD_METRICS[name].per_step else values
        measured = set_measures.single_heads(recordings, name)[1]
        np.testing.assert_allclose(measured, expected, rtol=0.02, atol=1e-3, err_msg=name)
        estimates = set_measures.heads(recordings, name)
        np.testing.assert_allclose(estimates.value, np.nanmean(set_measures.single_heads(recordings, name), axis=0))
    shown = recording_sets.heads("tiny", recordings, "strength")
    assert set(shown.table["of"]) == {"tiny", "random weights"}
    assert "No claim against random weights" in shown.finding


def test_a_head_that_differs_from_random_weights_is_named_and_no_other() -> None:
    recordings = a_set(0)
    said = [set_findings.heads_beyond(recordings, name) for name in of_mass()]
    assert said == ["No head differs significantly from random weights."] * len(said)
    recordings.arrays["trained.heads"][:, of_mass().index("first"), 2] += 5
    sentence = set_findings.heads_beyond(recordings, "first")
    assert (
        sentence.startswith("higher than in every random-weight model in 1 of 4 heads")
        and "layer 2, head 0" in sentence
    )


def test_a_block_that_is_opened_is_told_from_what_moves_by_itself(recorded_set) -> None:
    recordings, _, _ = recorded_set
    births = recordings.part("trained")["births"].sum(axis=(0, 1)) + recordings.part("trained")["deaths"].sum(
        axis=(0, 1)
    )
    assert births[recordings.info.coincidences.index("block")] > 0


def test_a_set_that_was_tampered_with_is_refused(recorded_set, tmp_path: Path) -> None:
    recordings, path, _ = recorded_set
    arrays = load_file(path)
    description = {"sinkscope_set": recordings.info.model_dump_json()}
    for name, values in (
        ("trained.sinks", arrays["trained.sinks"][:, :, :2].copy()),
        ("trained.share", -arrays["trained.share"] - 1),
        ("random.lived", np.full_like(arrays["random.lived"], np.inf)),
    ):
        save_file({**arrays, name: values}, tmp_path / "bad.safetensors", description)
        with pytest.raises(UserError, match=name):
            open_set(tmp_path / "bad.safetensors")
    save_file({name: arrays[name] for name in list(SHAPES)[1:]}, tmp_path / "bad.safetensors", description)
    with pytest.raises(UserError, match="missing"):
        open_set(tmp_path / "bad.safetensors")
    save_file(arrays, tmp_path / "bad.safetensors")
    with pytest.raises(UserError, match="no set of recordings"):
        open_set(tmp_path / "bad.safetensors")


def test_what_a_set_cannot_be_made_of_is_refused() -> None:
    with pytest.raises(ValueError, match="no prompts of your own yet"):
        RecordSetSpec(prompts="own")
    with pytest.raises(ValueError, match="need the prompts 'own', not 'bundled_story'"):
        RecordSetSpec(prompts="bundled_story", own_prompts=PROMPTS)
    with pytest.raises(ValueError, match="at least two"):
        RecordSetSpec(prompts="own", own_prompts=("one",))
    cut = RecordSetSpec(prompts="own", own_prompts=PROMPTS, count=2)
    assert cut.own_prompts == PROMPTS[:2] and cut.sinks == SinkParams()
