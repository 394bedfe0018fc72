"""Cached decoding: the same text, step by step, and the masses that the open block's queries pay in a whole forward."""

import dataclasses
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from analysis import jobs
from analysis.attention import MassObserver
from analysis.errors import UserError
from analysis.models.checkpoint import describe
from analysis.models.families import ARCHITECTURES
from analysis.models.layout import Layout, layout_of
from analysis.models.load import load
from analysis.recording.denoising import choices, denoise, own_sampling
from analysis.recording.trajectory_file import open_trajectory
from analysis.sinks.step_inputs import expected_share
from analysis.specs import SAMPLINGS, ModelSpec, RecordSpec, ReferenceSpec, SDARSampling
from tests.conftest import GOLDEN
from tests.helpers import QuietContext, edit_config, save_tokenizer
from tests.recording.test_block_denoising import ALIKE, DRAWN, NOT_OFFERED, ends, model_of, runs, sampling

NAMES = ("sdar", "a2d-qwen3", "fast-dllm-v2", "nemotron")
# Which tokens a block keeps does not ask whether their keys are kept: one run of each rule, one of each place of the
# first block, one that ends early.
OTHERS = {"dynamic_b8_t0.6", "static_b8_s3", "dynamic_b4_short_prompt", "top_k1_b4", "b8_small2_t1", "b8_t0.9"}
RUNS = [
    (name, run)
    for name in NAMES
    for run, asked in runs(name).items()
    if run not in NOT_OFFERED | DRAWN | ALIKE | OTHERS and asked.get("sampler") != "mdlm"
]


@pytest.mark.parametrize(("name", "run"), RUNS)
def test_every_golden_run_is_written_alike_and_each_query_attends_alike(name, run, monkeypatch, tmp_path):
    asked = runs(name)[run]
    model = model_of(name, run, tmp_path)
    prompt = load_file(GOLDEN / name / "generate.safetensors")[f"{run}|prompt_ids"]
    params = own_sampling(model, sampling(name, asked))
    stops = ends(asked)
    monkeypatch.setattr("analysis.recording.denoising.stop_tokens", lambda model: set(stops.tolist()))

    def predict(tokens, observed, layout=None, first=0, aligned=True):
        return model.predict(tokens, layout=layout, aligned=aligned)

    whole = list(choices(model, predict, prompt, params, 0, stops))
    cached = list(denoise(model, prompt, params.model_copy(update={"cached": True}), seed=0))
    assert len(cached) == len(whole)
    begun = set()
    for step, expected in zip(cached, whole, strict=True):
        choice = step.choice
        for part in ("tokens", "state", "chosen", "output"):
            assert torch.equal(getattr(choice, part), getattr(expected, part))
        assert choice.open_block == expected.open_block
        assert torch.allclose(choice.confidence, expected.confidence, atol=1e-4, equal_nan=True)
        first, end = choice.query_range
        begun.add(first)
        assert end == choice.tokens.shape[1]
        observer = MassObserver()
        observer.first = first
        layout = layout_of(model.architecture, prompt.shape[1], params.block)
        if choice.output.shape == choice.tokens.shape:
            layout = dataclasses.replace(layout, open_from=first)
        model.predict(choice.tokens, observer, layout=layout)
        seen = observer.take()
        assert torch.allclose(step.mass, seen.mass[:1], atol=1e-4)
        assert torch.allclose(step.value_norm, seen.value_norm[:1], atol=1e-4)
        assert torch.allclose(step.mass.sum(-1), torch.tensor(float(end - first)), atol=1e-3)
    assert len(begun) > 1, "prefixes were kept"


def test_a_mixture_of_experts_runs_whole_forwards():
    model = SimpleNamespace(architecture=ARCHITECTURES["sdar-moe"])
    with pytest.raises(UserError, match="Leave caching off"):
        own_sampling(model, SDARSampling(cached=True))
    assert own_sampling(model, SDARSampling()).cached is False


@pytest.fixture(scope="module", params=NAMES)
def recorded(request, tmp_path_factory):
    """A model's spec and its cached recording, in blocks of four."""
    folder = shutil.copytree(GOLDEN / request.param, tmp_path_factory.mktemp("model") / request.param)
    save_tokenizer(folder, size=100, mask=False)
    edit_config(folder, **{"bd_size" if request.param == "fast-dllm-v2" else "block_size": 4})
    spec = ModelSpec(source=str(folder), device="cpu")
    kind = SAMPLINGS[describe(spec).sampler]
    small = {"small_block_length": 2} if "small_block_length" in kind.model_fields else {}
    params = kind(gen_length=8, cached=True, **small)
    asked = RecordSpec(model=spec, prompt="w54 w58 w10 w38 w70 w67", sampling=params)
    return spec, open_trajectory(jobs.record(asked, QuietContext(folder.parent)).file)


def test_a_recording_says_which_tokens_asked(recorded):
    _, trajectory = recorded
    assert trajectory.info.sampling.cached is True
    counts = trajectory.queries[:, 1] - trajectory.queries[:, 0]
    opened = (np.diff(trajectory.open_block, axis=1)[:, 0] == 1) & (trajectory.queries[:, 0] == 0)
    assert (counts[~opened] <= 4).all()
    for step in range(trajectory.steps):
        present = trajectory.present[step]
        received = trajectory.mass[step][..., present].sum(axis=-1)
        assert np.allclose(received, counts[step], rtol=1e-3)


def test_random_weights_are_observed_at_the_same_queries(recorded, tmp_path):
    spec, trajectory = recorded
    steps = range(trajectory.steps)
    asked = ReferenceSpec(
        model=spec,
        inputs=tuple(trajectory.input_tokens(step) for step in steps),
        states=tuple(tuple(trajectory.state[step][trajectory.present[step]].tolist()) for step in steps),
        open_blocks=tuple((start, end) for start, end in trajectory.open_block.tolist()),
        first_queries=tuple(trajectory.queries[:, 0].tolist()),
        prompt_length=6,
        block_length=trajectory.info.block_length,
    )
    reference = open_trajectory(jobs.reference(asked, QuietContext(tmp_path)).file)
    assert np.array_equal(reference.queries, trajectory.queries)


def test_with_all_queries_zeroed_every_corrected_share_is_one(recorded):
    """Uniform attention as the recording's own pattern has it, by the model run on the cache."""
    spec, trajectory = recorded
    model = load(spec)
    for block in model.blocks:
        for name in ("q_proj", "q_norm"):
            module = getattr(block.self_attn, name, None)
            if module is not None:
                for weight in module.parameters():
                    weight.data.zero_()
    prompt = torch.tensor([trajectory.tokens[0][: trajectory.info.prompt_length].tolist()])
    for step in denoise(model, prompt, trajectory.info.sampling, seed=0):
        first, end = step.choice.query_range
        starts = (
            Layout(4, layout_of(model.architecture, 6).border).starts(end)
            if model.architecture.attention == "block-causal"
            else (step.choice.open_block[0],)
        )
        uniform = expected_share(model.architecture.attention, starts, (first, end), np.ones(end, bool))
        shares = step.mass[0].numpy() / (end - first)
        there = uniform > 0
        assert np.allclose(shares[..., there] / uniform[there], 1, atol=1e-5)
