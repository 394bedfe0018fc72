"""Parallel writing: a text written by a threshold beside one of one token per forward."""

from dataclasses import replace

import numpy as np
import pytest

from analysis import jobs
from analysis.errors import UserError
from analysis.findings import finding_of
from analysis.recording.alternatives import is_pair, parallel_effect, parallel_pair
from analysis.recording.trajectory import tokens_written
from analysis.recording.trajectory_file import open_trajectory
from analysis.specs import SAMPLINGS, DreamSampling, LLaDASampling, MDLMSampling, ModelSpec, RecordSpec, SinkParams
from tests.helpers import QuietContext, save_tokenizer
from tests.recording.test_fast_dllm import sharpened

PROMPT = "w54 w58 w10 w38 w70 w67"
BY_THRESHOLD = {"llada", "dream", "dllm", "sdar", "fast-dllm-v2", "llada2", "nemotron"}


def pair(sampling):
    first, second = parallel_pair(RecordSpec(prompt=PROMPT, sampling=sampling))
    return first.sampling, second.sampling


def test_who_can_write_by_a_threshold():
    able = {name for name, kind in SAMPLINGS.items() if kind().at_threshold(0.9) is not None}
    assert able == BY_THRESHOLD == {name for name, kind in SAMPLINGS.items() if kind().one_by_one() is not None}
    with pytest.raises(UserError, match="no confidence threshold"):
        parallel_pair(RecordSpec(prompt=PROMPT, sampling=MDLMSampling()))


@pytest.mark.parametrize("name", sorted(BY_THRESHOLD))
def test_a_pair_is_known_again_and_its_order_matters(name):
    first, second = pair(SAMPLINGS[name]())
    assert is_pair(first, second) and not is_pair(second, first) and not is_pair(first, first)
    assert not first.keeps_keys and not second.keeps_keys
    assert second.forwards() >= first.forwards() - 1


def test_the_threshold_is_the_recordings_own():
    assert pair(LLaDASampling(threshold=0.7, cache="dual"))[0].threshold == 0.7
    assert pair(LLaDASampling())[0].threshold == 0.9


@pytest.fixture(scope="module", params=["llada-gqa", "dream-gqa"])
def recorded(request, tmp_path_factory):
    """The two recordings of a pair by the model that is sometimes sure."""
    folder = tmp_path_factory.mktemp("pair") / request.param
    sharpened(request.param).network.save_pretrained(folder)
    save_tokenizer(folder, size=100, mask=False)
    kind = DreamSampling if request.param == "dream-gqa" else LLaDASampling
    model = ModelSpec(source=str(folder), device="cpu")
    sampling = kind(gen_length=16).at_threshold(0.5)
    specs = parallel_pair(RecordSpec(model=model, prompt=PROMPT, sampling=sampling))
    outcomes = [jobs.record(spec, QuietContext(folder.parent)) for spec in specs]
    return [open_trajectory(outcome.file) for outcome in outcomes], [outcome.summary for outcome in outcomes]


def test_one_writes_several_tokens_per_forward_and_the_other_one(recorded):
    (parallel, alone), summaries = recorded
    assert set(tokens_written(alone)) == {1} and alone.steps == 16
    assert tokens_written(parallel).sum() == 16 and parallel.steps < 16
    for trajectory, summary in zip((parallel, alone), summaries, strict=True):
        assert summary["written"] == tokens_written(trajectory).tolist()
        assert summary["steps_asked"] == summary["steps"]


def test_sinks_are_compared_at_as_many_tokens_written(recorded):
    parallel, alone = recorded[0]
    effect = parallel_effect(parallel, alone, SinkParams(k=1))
    written = tokens_written(parallel)
    assert effect.before.tolist() == (np.cumsum(written) - written).tolist()
    for number, before in enumerate(effect.before.tolist()):
        mass = parallel.mass[number].astype(np.float64).mean(axis=(0, 1))
        theirs = alone.mass[before].astype(np.float64).mean(axis=(0, 1))
        sinks, others = (values > values.mean() + values.std() for values in (mass, theirs))
        assert effect.strength[number] == pytest.approx(mass[sinks].sum() / mass.sum(), rel=1e-4)
        assert effect.strength_alone[number] == pytest.approx(theirs[others].sum() / theirs.sum(), rel=1e-4)
        assert effect.even[number] == pytest.approx(sinks.mean())
        if (sinks | others).any():
            assert effect.common[number] == pytest.approx((sinks & others).sum() / (sinks | others).sum())
    assert effect.common[0] == 1, "both begin with the same input"
    same = parallel_effect(alone, alone, SinkParams())
    assert same.aligned == 1 and np.array_equal(same.strength, same.strength_alone)


def test_what_is_said_of_it(recorded):
    effect = parallel_effect(*recorded[0], SinkParams(k=1))
    said = finding_of("parallel writing", 0.5, effect.written, effect.alone, effect.aligned, effect.chance)
    assert said.startswith(f"Threshold 0.5: 16 tokens in {len(effect.written)} forwards, ")
    assert "one by one it took 16 forwards" in said
    assert "share 60 % of their tokens, aligned (30 % in random order)" in finding_of(
        "parallel writing", 0.5, effect.written, effect.alone, 0.6, 0.3
    )
    assert finding_of("parallel writing", 0.5, effect.written, effect.alone, 1.0, 0.3).endswith(
        "Both texts are the same."
    )
    sinks = finding_of(
        "parallel sinks", effect.strength, effect.even, effect.strength_alone, effect.even_alone, effect.common
    )
    assert "an even split" in sinks and "common to both" in sinks
    none = replace(effect, common=np.full(3, np.nan))
    assert "common" not in finding_of("parallel sinks", *[np.ones(3)] * 4, none.common)
    assert finding_of("parallel sinks", *[np.empty(0)] * 5) == ""
