"""A recording: what it holds, and that it opens without the model or not at all."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from analysis import jobs, trajectory
from analysis.errors import UserError
from analysis.specs import AutoregressiveSampling, LLaDASampling, ModelSpec, RecordSpec
from analysis.trajectory import PADDING, open_trajectory, recording_bytes, save
from tests.helpers import QuietContext, save_tiny


def test_a_recording_holds_each_steps_input(trajectory, bundled):
    geometry = bundled.geometry
    assert trajectory.mass.shape == (8, geometry.layers, geometry.heads, trajectory.info.prompt_length + 16)
    assert np.allclose(trajectory.mass.sum(-1), trajectory.positions, atol=1e-3)
    assert (trajectory.masked == (trajectory.tokens == bundled.mask_token)).all()
    assert trajectory.masked[0].sum() == 16
    for step in range(7):
        chosen = np.isfinite(trajectory.confidence[step])
        assert (trajectory.tokens[step + 1][~chosen] == trajectory.tokens[step][~chosen]).all()
        assert (trajectory.masked[step] & ~trajectory.masked[step + 1] == chosen).all()
    assert trajectory.labels(0)[0] == "[BOS]"
    assert trajectory.labels(0)[-1] == "[MASK]"


def test_a_steps_mass_is_that_of_its_forward(trajectory, bundled):
    from analysis.attention import MassObserver

    observer = MassObserver()
    bundled.predict(torch.tensor([trajectory.input_tokens(5)]), observer)
    assert np.allclose(observer.take().mass[0].numpy(), trajectory.mass[5], atol=1e-5)


def test_a_recording_names_everything_it_was_made_with(trajectory, bundled):
    info = trajectory.info
    assert info.model.fingerprint == bundled.fingerprint
    assert (info.seed, info.sampling.steps, info.prompt) == (0, 8, "one day ben goes to the zoo .")
    assert {"torch", "transformers", "sinkscope", "python"} <= set(info.environment["versions"])
    assert info.environment["hardware"]["cores"] >= 1
    assert info.final_text


def test_saving_and_opening_changes_nothing(trajectory, tmp_path):
    save(trajectory, tmp_path / "recording.safetensors")
    again = open_trajectory(tmp_path / "recording.safetensors")
    assert again.info == trajectory.info
    for name in ("tokens", "masked", "confidence", "mass", "value_norm", "final"):
        np.testing.assert_array_equal(getattr(again, name), getattr(trajectory, name))
    assert [path.name for path in tmp_path.iterdir()] == ["recording.safetensors"]


def test_half_precision_keeps_the_error_it_names(tmp_path, trajectory):
    spec = RecordSpec(
        prompt=trajectory.info.prompt, sampling=LLaDASampling(gen_length=16, steps=8), mass_dtype="float16"
    )
    half = open_trajectory(jobs.record(spec, QuietContext(tmp_path)).file)
    assert half.mass.dtype == np.float16
    error = np.abs(half.mass.astype(np.float32) - trajectory.mass).max()
    assert 0 < half.info.mass_error <= half.mass.max() * 2.0**-11
    assert error == pytest.approx(half.info.mass_error, rel=0.05)
    assert trajectory.info.mass_error == 0


def test_auto_precision_turns_to_half_above_its_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(trajectory, "FLOAT32_LIMIT", 1000)
    spec = RecordSpec(prompt="ben", sampling=LLaDASampling(gen_length=4, steps=2))
    assert jobs.record(spec, QuietContext(tmp_path)).summary["mass_dtype"] == "float16"


def test_an_autoregressive_recording_grows_and_is_padded(tmp_path):
    folder = save_tiny(tmp_path / "model", LlamaForCausalLM, LlamaConfig)
    model = ModelSpec(source=str(folder), device="cpu")
    spec = RecordSpec(model=model, prompt="w7 w8 w9", sampling=AutoregressiveSampling(gen_length=6))
    recording = open_trajectory(jobs.record(spec, QuietContext(tmp_path)).file)
    steps, length = recording.steps, recording.info.prompt_length
    for step in range(steps):
        assert np.isfinite(recording.mass[step, :, :, : length + step]).all()
        assert np.isnan(recording.mass[step, :, :, length + step :]).all()
        assert (recording.tokens[step, length + step :] == PADDING).all()
        assert np.flatnonzero(np.isfinite(recording.confidence[step])).tolist() == [length + step]
        assert len(recording.input_tokens(step)) == length + step
    assert not recording.masked.any()
    assert recording.info.model.mask_token is None


def test_a_prompt_with_unknown_words_says_so(tmp_path):
    folder = save_tiny(tmp_path / "model", LlamaForCausalLM, LlamaConfig)
    model = ModelSpec(source=str(folder), device="cpu")
    spec = RecordSpec(model=model, prompt="w7 photosynthesises", sampling=AutoregressiveSampling(gen_length=2))
    assert jobs.record(spec, QuietContext(tmp_path)).summary["unknown_tokens"] == 1


def test_text_without_a_tokenizer_is_refused(tmp_path):
    folder = save_tiny(tmp_path / "model", LlamaForCausalLM, LlamaConfig, tokenizer=False)
    spec = RecordSpec(model=ModelSpec(source=str(folder), device="cpu"), prompt="a", sampling=AutoregressiveSampling())
    with pytest.raises(UserError, match="no tokenizer"):
        jobs.record(spec, QuietContext(tmp_path))


# --- files that are not recordings ------------------------------------------------------------------------------


def refused(path) -> str:
    with pytest.raises(UserError) as caught:
        open_trajectory(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rewrite(recording, path, info=None, **arrays):
    """Saves a recording with parts replaced, past every check."""
    names = ("tokens", "masked", "confidence", "mass", "value_norm", "final")
    kept = {name: np.ascontiguousarray(arrays.get(name, getattr(recording, name))) for name in names}
    text = recording.info.model_dump_json() if info is None else info
    save_file(kept, path, metadata={"sinkscope": text})
    return path


def test_damaged_and_foreign_files_are_refused(trajectory, tmp_path):
    path = tmp_path / "file.safetensors"
    path.write_bytes(b"not a recording at all")
    assert "not a whole recording" in refused(path)
    save(trajectory, path)
    path.write_bytes(path.read_bytes()[:-1000])
    assert "not a whole recording" in refused(path)
    save_file({"a": np.zeros(3)}, path)
    assert "not a SinkScope recording" in refused(path)
    assert "not a whole recording" in refused(tmp_path / "absent.safetensors")


def test_recordings_that_contradict_themselves_are_refused(trajectory, tmp_path):
    path = tmp_path / "file.safetensors"
    assert "'masked' has shape" in refused(rewrite(trajectory, path, masked=trajectory.masked[:, :-1]))
    assert "'mass' is I64" in refused(rewrite(trajectory, path, mass=trajectory.mass.astype(np.int64)))
    assert "'mass' has shape" in refused(rewrite(trajectory, path, mass=trajectory.mass[0]))
    assert "text of token" in refused(rewrite(trajectory, path, tokens=trajectory.tokens + 100_000))
    info = json.loads(trajectory.info.model_dump_json())
    longer = json.dumps({**info, "prompt_length": 10_000})
    assert "longer than its text" in refused(rewrite(trajectory, path, longer))
    assert "seed" in refused(rewrite(trajectory, path, json.dumps({**info, "seed": "many"})))
    assert "was written as 'x'" in refused(rewrite(trajectory, path, json.dumps({**info, "format": "x"})))
    assert "cannot be read" in refused(rewrite(trajectory, path, "[" * 100_000))
    nothing = np.full_like(trajectory.mass, np.nan)
    assert "'mass' has missing" in refused(rewrite(trajectory, path, mass=nothing))
    assert "'mass' has missing" in refused(rewrite(trajectory, path, mass=-trajectory.mass))
    assert "gaps" in refused(rewrite(trajectory, path, final=np.full_like(trajectory.final, PADDING)))
    holes = trajectory.tokens.copy()
    holes[1, 3] = PADDING
    assert "gaps" in refused(rewrite(trajectory, path, tokens=holes))


def test_number_formats_numpy_does_not_know_are_refused(trajectory, tmp_path):
    from safetensors.torch import save_file as save_torch

    names = ("tokens", "masked", "confidence", "mass", "value_norm", "final")
    arrays = {name: torch.from_numpy(np.array(getattr(trajectory, name))) for name in names}
    for dtype, name in ((torch.bfloat16, "BF16"), (torch.float8_e4m3fn, "F8_E4M3")):
        path = tmp_path / f"{name}.safetensors"
        changed = {**arrays, "mass": arrays["mass"].to(dtype)}
        save_torch(changed, path, metadata={"sinkscope": trajectory.info.model_dump_json()})
        assert f"'mass' is {name}" in refused(path)


def test_the_size_of_a_recording_is_known_beforehand(trajectory, tmp_path):
    save(trajectory, tmp_path / "file")
    shape = (trajectory.steps, trajectory.layers, trajectory.heads, trajectory.info.model.kv_heads)
    expected = recording_bytes(*shape, trajectory.positions, "auto")
    assert expected == pytest.approx((tmp_path / "file").stat().st_size, rel=0.05)


def test_a_recording_larger_than_memory_is_refused_before_it_starts(monkeypatch, tmp_path):
    monkeypatch.setattr("analysis.jobs.recordings.free_memory", lambda: 1000)
    spec = RecordSpec(model=ModelSpec(device="cpu"), prompt="ben", sampling=LLaDASampling(gen_length=4, steps=2))
    with pytest.raises(UserError, match="Not enough memory for this recording"):
        jobs.record(spec, QuietContext(tmp_path))


def test_a_full_disk_leaves_no_half_recording(trajectory, tmp_path, monkeypatch):
    def full(arrays, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("analysis.trajectory.save_file", full)
    with pytest.raises(UserError, match="No space left"):
        save(trajectory, tmp_path / "recording.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_trajectories_are_immutable_values(trajectory):
    with pytest.raises(dataclasses.FrozenInstanceError):
        trajectory.mass = None
