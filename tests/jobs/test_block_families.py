"""Everything that jobs do, on small models that write block by block: record and look inside."""

import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from safetensors.numpy import load_file

from analysis import jobs
from analysis.errors import UserError
from analysis.jobs.insights import ablate, attention_map
from analysis.models.families import ARCHITECTURES
from analysis.models.resident import release_resident
from analysis.recording.trajectory_file import open_trajectory
from analysis.sinks.step_inputs import TokenState
from analysis.specs import SAMPLINGS, AblateSpec, AttentionMapSpec, ModelSpec, NoiseSpec, RecordSpec, ReferenceSpec
from tests.conftest import GOLDEN
from tests.helpers import QuietContext, edit_config, save_tokenizer

NAMES = ("sdar", "a2d-qwen3", "fast-dllm-v2", "nemotron", "llada2")
PROMPT = "w54 w58 w10 w38 w70 w67"


@pytest.fixture(scope="module", params=NAMES)
def spec(request, tmp_path_factory) -> Iterator[ModelSpec]:
    """A golden checkpoint with a tokenizer, of blocks of four."""
    folder = shutil.copytree(GOLDEN / request.param, tmp_path_factory.mktemp("model") / request.param)
    save_tokenizer(folder, size=100, mask=False)
    edit_config(folder, **{"bd_size" if request.param == "fast-dllm-v2" else "block_size": 4})
    yield ModelSpec(source=str(folder), device="cpu")
    release_resident()


@pytest.fixture(scope="module")
def sampling(spec):
    from analysis.models.checkpoint import describe

    own = describe(spec).sampler
    return SAMPLINGS[own](gen_length=8, **({"small_block_length": 2} if own == "fast-dllm-v2" else {}))


@pytest.fixture(scope="module")
def recording(spec, sampling, tmp_path_factory):
    context = QuietContext(tmp_path_factory.mktemp("recording"))
    outcome = jobs.record(RecordSpec(model=spec, prompt=PROMPT, sampling=sampling), context)
    said = {phase for phase, *_ in context.said if phase.startswith("denoising block")}
    assert len(said) >= 2
    return open_trajectory(outcome.file)


def test_a_recording_says_how_the_text_was_attended_and_written(spec, sampling, recording):
    info, family = (
        recording.info,
        next(
            row
            for row in ARCHITECTURES.values()
            if row.sampler == sampling.sampler and row.name.split(" ")[0] != "Llama"
        ),
    )
    assert info.model.attention == family.attention
    assert info.sampling.block_length == 4
    assert info.block_length == 4
    if family.attention == "block-causal":
        border = {"start": 0, "padded-prompt": 6 % 4}[family.anchor]
        inside = [start for start in info.block_starts if start]
        assert info.block_starts[0] == 0
        assert all((start - border) % 4 == 0 for start in inside)
        assert len(inside) >= 2
    else:
        assert info.block_starts == ()
    state = recording.state
    assert (state[:, :6] == TokenState.GIVEN).all()
    for step in range(recording.steps):
        present = recording.present[step]
        received = recording.mass[step][..., present].sum(axis=-1)
        assert np.allclose(received, present.sum(), rtol=1e-3)


def test_the_map_of_a_step_sums_to_its_mass(spec, recording, tmp_path):
    for step in (0, recording.steps - 1):
        look = AttentionMapSpec(
            model=spec,
            tokens=recording.input_tokens(step),
            layer=1,
            head=2,
            prompt_length=6,
            block_length=recording.info.block_length,
            open_from=int(recording.open_block[step][0]),
        )
        values = load_file(attention_map(look, QuietContext(tmp_path)).file)["map"]
        assert np.allclose(values.sum(axis=0), recording.mass[step, 1, 2, : len(values)], atol=1e-3)


def test_random_weights_see_the_same_blocks(spec, recording, tmp_path):
    steps = range(recording.steps)
    asked = ReferenceSpec(
        model=spec,
        inputs=tuple(recording.input_tokens(step) for step in steps),
        states=tuple(tuple(recording.state[step][recording.present[step]].tolist()) for step in steps),
        open_blocks=tuple((start, end) for start, end in recording.open_block.tolist()),
        prompt_length=6,
        block_length=recording.info.block_length,
    )
    reference = open_trajectory(jobs.reference(asked, QuietContext(tmp_path)).file)
    # A text may end with a token that no step has read.
    read = reference.positions
    assert reference.info.block_starts == tuple(start for start in recording.info.block_starts if start < read)
    assert np.array_equal(reference.open_block[:, 0], recording.open_block[:, 0])
    # The first token sees only its own block, so what it gives nothing to is what it cannot see.
    look = AttentionMapSpec(
        model=spec,
        tokens=recording.input_tokens(0),
        layer=0,
        head=0,
        prompt_length=6,
        block_length=4,
        open_from=int(recording.open_block[0][0]),
    )
    values = load_file(attention_map(look, QuietContext(tmp_path)).file)["map"]
    assert (values[0, 5:] == 0).all()


def test_sinks_are_ablated_in_every_step(spec, sampling, tmp_path):
    asked = AblateSpec(model=spec, prompt=(10, 14, 25), sampling=sampling, sinks={"k": 0.5})
    outcome = ablate(asked, QuietContext(tmp_path))
    rows = {row["target"]: row for row in outcome.summary["rows"]}
    assert rows["untouched"]["agreement"] == 1.0
    assert 0 < rows["sinks"]["blocked_share"] < 1


def test_noise_over_a_whole_text_is_refused(spec, tmp_path):
    with pytest.raises(UserError, match="inside a block"):
        jobs.noise(NoiseSpec(model=spec, tokens=(5, 6, 7), prompt_length=1), QuietContext(tmp_path))
