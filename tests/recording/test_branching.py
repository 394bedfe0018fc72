"""Leaving a recorded text: what is repeated, what is written, what is refused, and what two branches have in common."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from analysis.errors import UserError
from analysis.jobs.insights import alternatives
from analysis.jobs.recordings import record
from analysis.models.resident import release_resident
from analysis.recording.alternatives import branch_of, deciding_step, likeness
from analysis.recording.denoising import denoise
from analysis.recording.trajectory_file import open_trajectory
from analysis.sinks.step_inputs import TokenState
from analysis.specs import (
    AlternativesSpec,
    AutoregressiveSampling,
    BD3LMSampling,
    Branch,
    DiffusionGemmaSampling,
    DreamSampling,
    FastDLLMSampling,
    FirstHittingSampling,
    LLaDA2Sampling,
    LLaDASampling,
    MDLMSampling,
    ModelSpec,
    NemotronSampling,
    RecordSpec,
    SDARSampling,
)
from tests.conftest import GOLDEN, golden_model
from tests.helpers import QuietContext

PROMPT = torch.arange(10, 18)[None]
CASES = {
    "llada": ("llada-gqa", LLaDASampling(gen_length=8, steps=4)),
    "llada, drawn in blocks": ("llada-gqa", LLaDASampling(gen_length=8, steps=8, block_length=4, temperature=0.7)),
    "dream": ("dream-gqa", DreamSampling(gen_length=8, steps=4)),
    "mdlm": ("mdlm", MDLMSampling(gen_length=8, steps=8)),
    "sdar": ("sdar", SDARSampling(gen_length=8, block_length=4, temperature=0.7)),
    "sdar, cached": ("sdar", SDARSampling(gen_length=8, block_length=4, cached=True)),
    "bd3lm": ("a2d-qwen3", BD3LMSampling(gen_length=8, block_length=4)),
    "first hitting": ("bd3lm-owt", FirstHittingSampling(gen_length=8, block_length=8)),
    "fast-dllm": ("fast-dllm-v2", FastDLLMSampling(gen_length=8)),
    "nemotron": ("nemotron", NemotronSampling(gen_length=8)),
    "llada2, editing": ("llada21", LLaDA2Sampling(gen_length=8, threshold=0.9, editing_threshold=0.01)),
}


def spec_of(folder: str) -> ModelSpec:
    return ModelSpec(source=str(GOLDEN / folder), device="cpu", paradigm="bd3lm" if "a2d" in folder else "auto")


def opened(folder: str):
    return golden_model(folder, spec_of(folder).paradigm)


@pytest.fixture(scope="module", params=CASES)
def case(request):
    folder, sampling = CASES[request.param]
    model = opened(folder)
    return model, sampling, list(denoise(model, PROMPT, sampling, 0))


def branch(steps, step: int, position: int, token: int, **changes) -> Branch:
    values = {"tokens": tuple(steps[step].choice.tokens[0].tolist()), "word": "x", "parent": "p"}
    return Branch(**{"step": step, "position": position, "token": token, **values, **changes})


def alike(first, second) -> bool:
    """Whether two steps are the same one: what went in, what attention did, what was written and how surely."""
    parts = ("tokens", "state", "chosen", "output")
    return (
        all(torch.equal(getattr(first.choice, part), getattr(second.choice, part)) for part in parts)
        and torch.equal(first.mass, second.mass)
        and torch.equal(first.choice.confidence.nan_to_num(-1), second.choice.confidence.nan_to_num(-1))
    )


def test_the_token_that_was_chosen_anyway_gives_the_same_text_step_for_step(case):
    model, sampling, steps = case
    for step in {1, len(steps) - 1}:
        choice = steps[step].choice
        position = int(choice.chosen[0].nonzero()[-1])
        same = branch(steps, step, position, int(choice.output[0, position]))
        again = list(denoise(model, PROMPT, sampling, 0, branch=same))
        assert len(again) == len(steps) and all(map(alike, steps, again))


def test_another_token_is_written_from_its_step_on(case):
    model, sampling, steps = case
    step = 1
    choice = steps[step].choice
    position = int(choice.chosen[0].nonzero()[0])
    token = next(token for token in (7, 8) if token != int(choice.output[0, position]))
    other = list(denoise(model, PROMPT, sampling, 0, branch=branch(steps, step, position, token)))
    assert all(map(alike, steps[:step], other[:step]))
    assert torch.equal(choice.tokens, other[step].choice.tokens) and torch.equal(steps[step].mass, other[step].mass)
    assert int(other[step].choice.output[0, position]) == token
    assert math.isnan(other[step].choice.confidence[0, position]), "the model did not choose it"
    rest = torch.arange(choice.output.shape[1]) != position
    assert torch.equal(other[step].choice.output[0, rest], choice.output[0, rest])
    final = other[-1].choice.output
    assert not (final == model.mask_token).any()
    edited = any(later.choice.chosen[0, position] for later in other[step + 1 :])
    assert int(final[0, position]) == token or (edited and "LLaDA2" in model.architecture.name)
    assert all(later.choice.chosen.any() for later in other), "every step decides something"


def test_a_token_may_be_written_before_the_model_would(case):
    model, sampling, steps = case
    places = [
        (step, position)
        for step, each in enumerate(steps)
        for position in (each.choice.undecided & ~each.choice.chosen[:, : each.choice.tokens.shape[1]])[0].nonzero()
    ]
    step, position = places[0][0], int(places[0][1])
    early = list(denoise(model, PROMPT, sampling, 0, branch=branch(steps, step, position, 7)))
    assert early[step].choice.chosen[0, position] and int(early[step].choice.output[0, position]) == 7
    assert not (early[-1].choice.output == model.mask_token).any()
    assert all(later.choice.chosen.any() for later in early), "every step decides something"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": (1, 2)}, "not the recorded one"),
        ({"token": 10**6}, "cannot be written"),
        ({"position": 0}, "not open in step 1"),
        ({"position": 400}, "not open in step 1"),
        ({"step": 99}, "no step 99"),
    ],
)
def test_what_does_not_leave_this_text_is_refused(changes, message):
    folder, sampling = CASES["llada"]
    model = opened(folder)
    steps = list(denoise(model, PROMPT, sampling, 0))
    with pytest.raises(UserError, match=message):
        list(denoise(model, PROMPT, sampling, 0, branch=branch(steps, 1, 12, 7).model_copy(update=changes)))


def test_a_canvas_that_is_drawn_again_in_every_step_is_not_branched():
    model = opened("diffusion-gemma")
    change = Branch(parent="p", step=0, position=9, token=7, word="x", tokens=(1,))
    with pytest.raises(UserError, match="draws the whole canvas again"):
        next(denoise(model, PROMPT, DiffusionGemmaSampling(), 0, branch=change))
    with pytest.raises(ValueError, match="the encoder only reads"):
        RecordSpec(prompt="Sue", branch=change, observe="reader")


# --- the jobs ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["bundled", "bundled-ar"])
def recorded(request, tmp_path_factory):
    sampling = (
        LLaDASampling(gen_length=8, steps=8) if request.param == "bundled" else AutoregressiveSampling(gen_length=8)
    )
    spec = RecordSpec(model=ModelSpec(source=request.param, device="cpu"), prompt="Sue was at the", sampling=sampling)
    outcome = record(spec, QuietContext(tmp_path_factory.mktemp("parent")))
    yield spec, outcome.key, open_trajectory(outcome.file)
    release_resident()


def test_the_likeliest_alternative_is_what_was_chosen_and_another_makes_a_branch(recorded, tmp_path):
    spec, key, parent = recorded
    position = parent.info.prompt_length + 1
    step = deciding_step(parent, parent.steps - 1, position, finished=True)
    context = QuietContext(tmp_path)
    asked = AlternativesSpec(model=spec.model, tokens=parent.input_tokens(step), position=position, count=5)
    told = alternatives(asked, context).summary["alternatives"]
    assert told[0]["token"] == parent.final[position]
    assert told[0]["probability"] == pytest.approx(parent.confidence[step, position], abs=1e-4)
    assert [row["probability"] for row in told] == sorted((row["probability"] for row in told), reverse=True)
    change = branch_of(parent, key, step, position, told[1]["token"], told[1]["text"])
    outcome = record(spec.model_copy(update={"branch": change}), context)
    other = open_trajectory(outcome.file)
    assert outcome.key != key and other.info.branch == change and parent.info.branch is None
    assert other.final[position] == told[1]["token"]
    assert deciding_step(other, other.steps - 1, position, finished=True) == step
    with pytest.raises(UserError, match="no step 8: its 8 steps"):
        branch_of(parent, key, 8, position, 1, "x")


@pytest.mark.parametrize("family", ["dream", "sdar", "bd3lm", "fast-dllm", "nemotron", "llada2, editing"])
def test_the_alternatives_of_every_family_hold_what_was_chosen(family, tmp_path):
    folder, sampling = CASES[family]
    spec, model = spec_of(folder), opened(folder)
    for step in list(denoise(model, PROMPT, sampling.model_copy(update={"temperature": 0.0}), 0))[:3]:
        choice = step.choice
        position = int(choice.chosen[0].nonzero()[0])
        asked = AlternativesSpec(
            model=spec,
            tokens=choice.tokens[0].tolist(),
            position=position,
            prompt_length=PROMPT.shape[1],
            block_length=getattr(sampling, "block_length", None),
            open_from=choice.open_block[0] if model.architecture.by_blocks else None,
        )
        told = alternatives(asked, QuietContext(tmp_path)).summary["alternatives"]
        chosen = next(row for row in told if row["token"] == int(choice.output[0, position]))
        assert chosen["probability"] == pytest.approx(float(choice.confidence[0, position]), abs=1e-4)
    release_resident()


def test_where_a_token_was_decided(recorded):
    _, _, parent = recorded
    assert deciding_step(parent, parent.steps - 1, 0) is None, "given by the prompt"
    for position in range(parent.info.prompt_length, parent.positions):
        step = deciding_step(parent, 0, position, finished=True)
        assert np.isfinite(parent.confidence[step, position])
        if parent.state[0, position] == TokenState.UNDECIDED:
            assert deciding_step(parent, 0, position) == 0, "what is open is predicted by the step itself"


def test_likeness_counts_new_tokens_and_sinks_after_the_branch(recorded):
    _, _, parent = recorded
    prompt, final, tokens = parent.info.prompt_length, parent.final.copy(), parent.tokens.copy()
    final[[prompt, prompt + 1]] = 5, 6
    tokens[-1, prompt + 1] = 6
    other = dataclasses.replace(parent, final=final, tokens=tokens)
    sinks = np.zeros((parent.steps, parent.positions), bool)
    sinks[:, 0] = True
    more = sinks.copy()
    more[:, 1] = True
    like = likeness(parent, other, sinks, more, step=1, position=prompt)
    assert like.compared == parent.positions - prompt - 1
    assert like.by_position == pytest.approx((like.compared - 1) / like.compared)
    assert like.aligned == like.by_position and 0 <= like.chance < like.aligned
    for kept in like.kept:
        assert np.flatnonzero(~kept).tolist() == [*range(prompt), prompt, prompt + 1]
    assert like.sinks == pytest.approx(0.5) and np.isnan(like.by_step[0])
    decided = (parent.present & ~parent.undecided)[-1, prompt + 1 :]
    expected = (decided.sum() - decided[0]) / decided.sum()
    assert like.aligned_by_step[-1] == pytest.approx(expected) and np.isnan(like.aligned_by_step[0])
    assert like.by_step[-1] == pytest.approx(expected) and like.by_step[-2] in (1.0, pytest.approx(np.nan, nan_ok=True))


def test_the_first_token_of_an_autoregressive_text_has_no_alternatives(recorded, tmp_path):
    spec, _, parent = recorded
    if parent.info.model.mask_token is None:
        asked = AlternativesSpec(model=spec.model, tokens=(1, 2), position=0)
        with pytest.raises(UserError, match="Nothing predicts the first token"):
            alternatives(asked, QuietContext(tmp_path))
    with pytest.raises(ValueError, match="beyond the 2 tokens"):
        AlternativesSpec(model=spec.model, tokens=(1, 2), position=3)
