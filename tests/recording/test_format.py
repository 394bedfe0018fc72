"""The recording's format: texts written block by block, files of another format, and files that cannot be."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from analysis.errors import UserError
from analysis.recording.trajectory import FORMAT, PADDING
from analysis.recording.trajectory_file import ARRAYS, open_trajectory, save
from analysis.sinks.step_inputs import TokenState
from tests.recording.block_texts import BLOCK, MASK, PROMPT, block_trajectory
from tests.recording.test_trajectory import refused, rewrite, with_one

EXAMPLES = Path(__file__).parent / "examples"
GIVEN, COMMITTED, ACCEPTED, UNDECIDED, ABSENT = (
    TokenState.GIVEN,
    TokenState.COMMITTED,
    TokenState.ACCEPTED,
    TokenState.UNDECIDED,
    TokenState.ABSENT,
)


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("planned", [1, 4, 9, 50])
def test_a_text_of_blocks_is_recorded_whatever_number_of_steps_was_expected(tmp_path, cached, planned):
    recording = block_trajectory(cached, planned)
    save(recording, tmp_path / "file")
    again = open_trajectory(tmp_path / "file")
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(again, name), getattr(recording, name))
    assert again.steps == 9
    for step in range(9):
        end = PROMPT + BLOCK * (step // 3 + 1)
        assert again.open_block[step].tolist() == [end - BLOCK, end]
        assert again.queries[step].tolist() == [end - BLOCK if cached else 0, end]
        assert (again.state[step, :PROMPT] == GIVEN).all() and (again.state[step, end:] == ABSENT).all()
        assert (again.tokens[step, end:] == PADDING).all() and len(again.input_tokens(step)) == end
        assert np.isnan(again.mass[step, ..., end:]).all()
        np.testing.assert_allclose(again.mass[step, ..., :end].sum(-1), BLOCK if cached else end, rtol=1e-5)
        assert ((again.tokens[step] == MASK) == again.undecided[step]).all()
    assert again.state[4, PROMPT + BLOCK :].tolist()[:BLOCK] == [ACCEPTED, ACCEPTED, UNDECIDED, UNDECIDED]
    assert again.state[5, PROMPT + BLOCK] == UNDECIDED  # accepted in step 3, taken back in step 4
    assert (again.state[6, PROMPT : PROMPT + 2 * BLOCK] == COMMITTED).all()


def test_relative_mass_is_one_on_average_whatever_part_of_the_text_asks():
    for cached in (False, True):
        recording = block_trajectory(cached)
        relative = recording.relative_mass()
        np.testing.assert_allclose(np.nanmean(relative, axis=-1), 1, rtol=1e-5)
        np.testing.assert_array_equal(np.isnan(relative), np.isnan(recording.mass))
        if not cached:
            np.testing.assert_array_equal(relative, recording.mass)


@pytest.mark.parametrize("name", ["autoregressive", "diffusion"])
def test_a_file_written_before_opens(name):
    recording = open_trajectory(EXAMPLES / f"{name}.safetensors")
    assert recording.info.format == FORMAT and recording.undecided.any() == (name == "diffusion")
    assert (recording.state[:, : recording.info.prompt_length] != ABSENT).all()


@pytest.mark.parametrize("written_as", ["sinkscope-trajectory-2", "sinkscope-trajectory-4", None])
def test_a_file_of_another_format_is_refused_with_what_is_read_and_what_to_do(tmp_path, written_as):
    info = json.loads(block_trajectory(cached=True).info.model_dump_json()) | {"format": written_as}
    said = refused(rewrite(block_trajectory(cached=True), tmp_path / "file", json.dumps(info)))
    assert f"was written as {written_as!r}" in said and f"reads '{FORMAT}'. Record it again." in said


# --- files that cannot be ---------------------------------------------------------------------------------------


@pytest.fixture
def blocks():
    return block_trajectory(cached=True)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("state", lambda values: with_one(values, (2, 1), 9), "'state' holds 9"),
        ("state", lambda values: with_one(values, (2, 1), -7), "'state' holds -7"),
        ("state", lambda values: with_one(values, (2, 1), ABSENT), "do not agree on which tokens are there"),
        ("state", lambda values: with_one(values, (0, -1), COMMITTED), "do not agree on which tokens are there"),
        ("queries", lambda values: with_one(values, (0, 0), -1), "'queries' reaches outside the text"),
        ("queries", lambda values: with_one(values, (8, 1), 18), "'queries' reaches outside the text"),
        ("queries", lambda values: with_one(values, (0, 0), 2**31 - 1), "'queries' reaches outside the text"),
        ("queries", lambda values: with_one(values, (0, 0), 9), "a step in which no token asks"),
        ("queries", lambda values: with_one(values, (0, 1), 8), "'queries' ends before the tokens do"),
        ("open_block", lambda values: with_one(values, (0, 1), 2), "'open_block' reaches outside the text"),
        ("open_block", lambda values: with_one(values, (8, 1), 99), "'open_block' reaches outside the text"),
        ("mass", lambda values: with_one(values, (0, 1, 1, 3), np.nan), "'mass' has missing"),
        ("mass", lambda values: with_one(values, (0, 1, 1, -1), 1.0), "'mass' has missing"),
        ("mass", lambda values: 3 * values, "'mass' is more attention, or less"),
        ("value_norm", lambda values: with_one(values, (0, 1, 1, -1), 1.0), "'value_norm' has missing"),
        ("final", lambda values: with_one(values, 2, PADDING), "gaps"),
    ],
)
def test_impossible_steps_are_damage_and_are_never_stored(blocks, tmp_path, name, change, said):
    path = tmp_path / "file"
    values = change(getattr(blocks, name))
    assert said in refused(rewrite(blocks, path, **{name: values}))
    path.unlink()
    with pytest.raises(UserError, match="was not stored, because it would not open again") as caught:
        save(dataclasses.replace(blocks, **{name: values}), path)
    assert said in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"block_starts": []}, "does not say where the blocks begin"),
        ({"block_starts": [0, 4, 4]}, "its blocks do not follow each other"),
        ({"block_starts": [-1, 4]}, "block_starts: each must be at least 0, not -1"),
        ({"block_starts": [0, 17]}, "its blocks do not follow each other"),
        ({"block_starts": [0, 10**30]}, "block_starts: each must be at most 2,147,483,647"),
        ({"windows": [4]}, "1 windows for 2 layers"),
        ({"windows": [4, -1]}, "windows"),
        ({"attention": "everything"}, "attention"),
    ],
)
def test_impossible_descriptions_are_refused(blocks, tmp_path, change, said):
    info = json.loads(blocks.info.model_dump_json())
    for name, value in change.items():
        (info if name in info else info["model"])[name] = value
    assert said in refused(rewrite(blocks, tmp_path / "file", json.dumps(info)))


def test_a_token_in_the_middle_may_be_absent(blocks, tmp_path):
    """As where a model takes an end-of-text token for padding: it neither asks nor is asked."""
    arrays = {name: getattr(blocks, name).copy() for name in ("tokens", "state", "confidence", "mass", "value_norm")}
    arrays["tokens"][8, 6], arrays["state"][8, 6] = PADDING, ABSENT
    arrays["mass"][8, ..., 6] = arrays["value_norm"][8, ..., 6] = np.nan
    recording = dataclasses.replace(blocks, **arrays)
    save(recording, tmp_path / "file")
    again = open_trajectory(tmp_path / "file")
    assert len(again.input_tokens(8)) == again.positions - 1
    assert again.labels(8)[6] == ""
