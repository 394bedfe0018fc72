"""The recording's format: texts written block by block, files of format 2, and files that cannot be."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from analysis.errors import UserError
from analysis.recording.trajectory import FORMAT, PADDING
from analysis.recording.trajectory_file import ARRAYS, open_trajectory, save
from analysis.sinks.step_inputs import TokenState
from tests.recording.block_texts import BLOCK, MASK, PROMPT, block_trajectory
from tests.recording.test_trajectory import refused, rewrite, with_one

FORMAT_2 = Path(__file__).parent / "format_2"
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


# --- format 2 ---------------------------------------------------------------------------------------------------


def written_by_format_2(name: str) -> tuple[dict, dict]:
    path = FORMAT_2 / f"{name}.safetensors"
    with safe_open(path, framework="numpy") as file:
        description = json.loads(file.metadata()["sinkscope"])
    assert description["format"] == "sinkscope-trajectory-2"
    return load_file(path), description


def test_a_diffusion_recording_of_format_2_opens_as_one_of_today(tmp_path):
    before, description = written_by_format_2("diffusion")
    recording = open_trajectory(FORMAT_2 / "diffusion.safetensors")
    for name in ("tokens", "confidence", "mass", "value_norm", "final"):
        np.testing.assert_array_equal(getattr(recording, name), before[name])
    np.testing.assert_array_equal(recording.undecided, before["masked"])
    assert recording.info.format == FORMAT and recording.info.model.attention == "bidirectional"
    assert recording.info.prompt == description["prompt"]
    assert recording.queries.tolist() == [[0, recording.positions]] * 4
    prompt = recording.info.prompt_length
    hole = int(np.flatnonzero(before["masked"][0, :prompt])[0])  # a [MASK] that the prompt itself held
    filled = before["tokens"][:, hole] != recording.info.model.mask_token
    assert filled.any() and (recording.state[filled, hole] == COMMITTED).all()
    others = [position for position in range(prompt) if position != hole]
    assert (recording.state[:, others] == GIVEN).all()
    after = recording.state[:, prompt:]
    assert (after == np.where(before["masked"][:, prompt:], UNDECIDED, COMMITTED)).all()
    # Two blocks of three tokens, two steps each.
    assert recording.open_block.tolist() == [[prompt, prompt + 3]] * 2 + [[prompt + 3, prompt + 6]] * 2
    save(recording, tmp_path / "again")
    np.testing.assert_array_equal(open_trajectory(tmp_path / "again").state, recording.state)


def test_an_autoregressive_recording_of_format_2_opens_as_one_of_today():
    before, _ = written_by_format_2("autoregressive")
    recording = open_trajectory(FORMAT_2 / "autoregressive.safetensors")
    prompt = recording.info.prompt_length
    assert recording.info.model.attention == "causal"
    for step in range(recording.steps):
        length = prompt + step
        assert recording.queries[step].tolist() == [0, length]
        assert recording.open_block[step].tolist() == [length, length + 1]
        expected = [GIVEN] * prompt + [COMMITTED] * step
        assert recording.state[step].tolist() == expected + [ABSENT] * (recording.positions - length)
    np.testing.assert_array_equal(recording.tokens, before["tokens"])


def rewritten_2(path, change, **arrays):
    """The diffusion recording of format 2 with its description changed and arrays replaced."""
    before, description = written_by_format_2("diffusion")
    change(description)
    save_file({**before, **arrays}, path, metadata={"sinkscope": json.dumps(description)})
    return path


def test_damaged_files_of_format_2_are_refused_in_a_sentence(tmp_path):
    path = tmp_path / "file"
    before, _ = written_by_format_2("diffusion")
    whole = rewritten_2(path, lambda description: None)
    assert open_trajectory(whole).steps == 4
    short = np.ascontiguousarray(before["masked"][:, :-1])
    assert "'masked' has shape" in refused(rewritten_2(path, lambda description: None, masked=short))
    flat = before["tokens"][0].copy()
    assert "'tokens' has shape" in refused(rewritten_2(path, lambda description: None, tokens=flat))
    wrong = before["masked"].astype(np.int32)
    assert "'masked' is I32" in refused(rewritten_2(path, lambda description: None, masked=wrong))
    longer = refused(rewritten_2(path, lambda description: description.update(prompt_length=10_000)))
    assert "longer than its text" in longer
    negative = refused(rewritten_2(path, lambda description: description.update(prompt_length=-3)))
    assert "longer than its text" in negative
    assert "model must be" in refused(rewritten_2(path, lambda description: description.update(model=[1])))
    said = refused(rewritten_2(path, lambda description: description["model"].update(bidirectional="no")))
    assert "model.attention is missing" in said
    assert "seed" in refused(rewritten_2(path, lambda description: description.update(seed="many")))


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
        ({"block_starts": [-1, 4]}, "block_starts.0 must be at least 0, not -1"),
        ({"block_starts": [0, 17]}, "its blocks do not follow each other"),
        ({"block_starts": [0, 10**30]}, "block_starts.1 must be at most 2,147,483,647"),
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


def test_windows_that_older_versions_claimed_of_llada2_are_none(blocks, tmp_path):
    info = json.loads(blocks.info.model_dump_json())
    path = tmp_path / "file"
    for architecture, windows in (("LLaDA2", ()), ("Mistral", (2, 0))):
        info["model"] |= {"architecture": architecture, "windows": [2, 0]}
        recording = open_trajectory(rewrite(blocks, path, json.dumps(info)))
        assert recording.info.model.windows == windows
        same = np.array_equal(recording.pattern.uniform_share, blocks.pattern.uniform_share, equal_nan=True)
        assert same == (not windows)


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
