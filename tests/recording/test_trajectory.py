"""A recording: what it holds, and that it opens without the model or not at all."""

import dataclasses
import json
import tracemalloc

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from analysis import jobs
from analysis.errors import UserError
from analysis.models.checkpoint import find
from analysis.models.load import load
from analysis.recording import trajectory as collecting
from analysis.recording.denoising import Choice, Step, written_once
from analysis.recording.trajectory import PADDING, planned_bytes, recording_bytes
from analysis.recording.trajectory_file import ARRAYS, open_trajectory, save
from analysis.sinks import definitions
from analysis.specs import AutoregressiveSampling, LLaDASampling, ModelSpec, RecordSpec, SinkParams
from tests.helpers import QuietContext, save_tiny


def test_a_recording_holds_each_steps_input(trajectory, bundled):
    geometry = bundled.geometry
    assert trajectory.mass.shape == (8, geometry.layers, geometry.heads, trajectory.info.prompt_length + 16)
    assert np.allclose(trajectory.mass.sum(-1), trajectory.positions, atol=1e-3)
    assert (trajectory.undecided == (trajectory.tokens == bundled.mask_token)).all()
    assert trajectory.undecided[0].sum() == 16
    for step in range(7):
        chosen = np.isfinite(trajectory.confidence[step])
        assert (trajectory.tokens[step + 1][~chosen] == trajectory.tokens[step][~chosen]).all()
        assert (trajectory.undecided[step] & ~trajectory.undecided[step + 1] == chosen).all()
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


def test_what_was_written_ends_before_the_first_end_of_text_token(trajectory):
    info = trajectory.info
    first, ended = info.prompt_length, trajectory.final.copy()
    ended[first + 3] = ended[first + 5] = info.model.end_tokens[0]
    assert dataclasses.replace(trajectory, final=ended).written == slice(first, first + 3)
    ended[first:] = info.model.mask_token
    assert dataclasses.replace(trajectory, final=ended).written == slice(first, trajectory.positions)


def test_saving_and_opening_changes_nothing(trajectory, tmp_path):
    save(trajectory, tmp_path / "recording.safetensors")
    again = open_trajectory(tmp_path / "recording.safetensors")
    assert again.info == trajectory.info
    for name in ARRAYS:
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


def test_progress_names_the_block_and_how_much_is_decided_where_steps_are_not_known(tmp_path):
    context = QuietContext(tmp_path)
    jobs.record(RecordSpec(prompt="ben", sampling=LLaDASampling(gen_length=8, steps=4, block_length=4)), context)
    said = [entry for entry in context.said if entry[0].startswith("denoising block")]
    assert [entry[:3] for entry in said] == [
        (f"denoising block {block} of 2", 2 * (block - 1) + step, 4) for block in (1, 2) for step in (1, 2)
    ]
    assert [sum(entry[3]["undecided"]) for entry in said] == [6, 4, 2, 0]
    assert all("share_decided" not in entry[3] for entry in said)
    prompt = said[0][3]["prompt_length"]
    assert [entry[3]["open_block"] for entry in said] == 2 * [[prompt, prompt + 4]] + 2 * [[prompt + 4, prompt + 8]]
    context = QuietContext(tmp_path)
    model = ModelSpec(source="bundled-ar", device="cpu")
    jobs.record(RecordSpec(model=model, prompt="ben", sampling=AutoregressiveSampling(gen_length=4)), context)
    shares = [entry[3]["share_decided"] for entry in context.said if "share_decided" in entry[3]]
    assert shares[:2] == [0.25, 0.5] and max(shares) <= 1


def test_auto_precision_turns_to_half_above_its_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(collecting, "FLOAT32_LIMIT", 1000)
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
    assert not recording.undecided.any()
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
    kept = {name: np.ascontiguousarray(arrays.get(name, getattr(recording, name))) for name in ARRAYS}
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
    assert "'state' has shape" in refused(rewrite(trajectory, path, state=trajectory.state[:, :-1]))
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
    assert "do not agree on which tokens are there" in refused(rewrite(trajectory, path, tokens=holes))


def with_one(values, place, number):
    changed = values.copy()
    changed[place] = number
    return changed


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("confidence", lambda values: with_one(values, (2, -1), np.inf), "'confidence' has numbers"),
        ("confidence", lambda values: with_one(values, (2, -1), -np.inf), "'confidence' has numbers"),
        ("confidence", lambda values: with_one(values, (2, -1), 7.0), "'confidence' has numbers"),
        ("mass", np.zeros_like, "'mass' is more attention, or less"),
        ("mass", lambda values: with_one(values, (3, 1, 2), 0.0), "'mass' is more attention, or less"),
        ("mass", lambda values: np.full_like(values, 3e38), "'mass' is more attention, or less"),
        ("mass", lambda values: with_one(values, (0, 0, 0, 0), 3e38), "'mass' is more attention, or less"),
        ("mass", lambda values: 2 * values, "'mass' is more attention, or less"),
        ("mass", lambda values: with_one(values, (0, 0, 0, 0), np.inf), "'mass' has missing"),
        ("value_norm", lambda values: with_one(values, (0, 0, 0, 0), np.inf), "'value_norm' has missing"),
    ],
)
def test_impossible_numbers_are_damage_and_are_never_stored(trajectory, tmp_path, name, change, said):
    path = tmp_path / "file.safetensors"
    values = change(getattr(trajectory, name))
    assert said in refused(rewrite(trajectory, path, **{name: values}))
    path.unlink()
    with pytest.raises(UserError, match="was not stored, because it would not open again") as caught:
        save(dataclasses.replace(trajectory, **{name: values}), path)
    assert said in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", [-1, 10**30, 2**31])
def test_seeds_that_no_sampler_takes_are_refused_in_a_sentence(trajectory, tmp_path, seed):
    info = json.loads(trajectory.info.model_dump_json())
    said = refused(rewrite(trajectory, tmp_path / "file", json.dumps({**info, "seed": seed})))
    assert "seed must be at" in said


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_description_holds_finite_numbers(trajectory, tmp_path, number):
    text = trajectory.info.model_dump_json()
    spoilt = json.dumps({**json.loads(text), "seconds": "HERE"}).replace('"HERE"', number)
    assert "seconds must be a finite number" in refused(rewrite(trajectory, tmp_path / "file", spoilt))


def test_headers_that_promise_too_much_are_refused_before_they_are_read(trajectory, tmp_path):
    path = tmp_path / "bomb.safetensors"
    with path.open("wb") as file:  # sparse: 3 GB of header that take no room on the disk
        file.write((3 * 10**9).to_bytes(8, "little"))
        file.truncate(3 * 10**9 + 8)
    tracemalloc.start()
    said = refused(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "description takes 3,000 MB" in said
    assert most < 2**20
    with path.open("wb") as file:
        file.write((2**64 - 1).to_bytes(8, "little") + b"{}")
    assert "not a whole recording" in refused(path)
    save(trajectory, path)
    for length in (0, 1, 7, 8, 100):
        path.write_bytes(path.read_bytes()[:length] if length else b"")
        assert "not a whole recording" in refused(path)
    assert "Is a directory" in refused(tmp_path)


def test_a_description_that_would_not_be_read_again_is_not_stored(trajectory, tmp_path):
    info = trajectory.info.model_copy(update={"prompt": "a" * 20 * 2**20})
    with pytest.raises(UserError, match="too long to be described"):
        save(dataclasses.replace(trajectory, info=info), tmp_path / "file")


def test_a_broken_model_leaves_no_recording(tmp_path):
    folder = save_tiny(tmp_path / "model", LlamaForCausalLM, LlamaConfig)
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.self_attn.v_proj.weight"] *= 1e38
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "left").mkdir()
    context = QuietContext(tmp_path / "left")
    spec = RecordSpec(
        model=ModelSpec(source=str(folder), device="cpu"), prompt="w7 w8", sampling=AutoregressiveSampling(gen_length=3)
    )
    with pytest.raises(UserError, match="not finite"):
        jobs.record(spec, context)
    assert list((tmp_path / "left").glob("*.safetensors*")) == []


def test_a_recording_ends_when_nothing_is_left_to_decide(tmp_path):
    spec = RecordSpec(prompt="one day ben", sampling=LLaDASampling(gen_length=16, steps=64))
    outcome = jobs.record(spec, QuietContext(tmp_path))
    recording = open_trajectory(outcome.file)
    assert recording.steps == outcome.summary["steps"] == 16
    assert outcome.summary["steps_asked"] == 64
    assert recording.undecided.sum(axis=1).tolist() == list(range(16, 0, -1))
    short = RecordSpec(prompt="one day ben", sampling=LLaDASampling(gen_length=16, steps=16))
    same = open_trajectory(jobs.record(short, QuietContext(tmp_path)).file)
    params = SinkParams()
    for one, other in zip(*(temporal(made, params) for made in (recording, same)), strict=True):
        np.testing.assert_array_equal(one, other)


def temporal(recording, params):
    """The centroid of the sinks over the steps, and the variance of each position's share over them."""
    mean = definitions.mean_mass(recording.mass)
    flags = definitions.find_sinks(mean, params)
    share = recording.mass.sum(axis=(1, 2)) / recording.mass.sum(axis=(1, 2, 3))[:, None]
    return definitions.sink_strength(recording.mass, flags).mean(axis=(1, 2)), share.var(axis=0)


def test_a_model_that_writes_masks_itself_may_take_more_steps_than_tokens(trajectory):
    def steps(count):
        for number in range(count):
            tokens = torch.full((1, 4), number)
            state, confidence = written_once(tokens, tokens > 3, 1), torch.full((1, 4), 0.5)
            yield Step(
                Choice(tokens, state, tokens > 0, confidence, tokens, (0, 4)),
                torch.full((1, 2, 3, 4), float(number)),
                torch.ones(1, 2, 1, 4),
            )

    grown, planned = collecting.record(steps(7), 2, 4), collecting.record(steps(7), 7, 4)
    for name, values in planned.items():
        np.testing.assert_array_equal(grown[name], values)


def test_number_formats_numpy_does_not_know_are_refused(trajectory, tmp_path):
    from safetensors.torch import save_file as save_torch

    arrays = {name: torch.from_numpy(np.array(getattr(trajectory, name))) for name in ARRAYS}
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


@pytest.mark.parametrize(
    ("source", "mass_dtype", "sampling"),
    [
        ("bundled", "auto", LLaDASampling(gen_length=8, steps=8)),
        ("bundled", "float16", LLaDASampling(gen_length=16, steps=8, block_length=8, cfg=0.5)),
        ("bundled", "float32", LLaDASampling(gen_length=8, steps=16)),  # half of the steps would decide nothing
        ("bundled-ar", "auto", AutoregressiveSampling(gen_length=20)),
    ],
)
def test_the_file_is_as_large_as_was_said_before_it_was_recorded(tmp_path, source, mass_dtype, sampling):
    """From the spec and the checkpoint's config alone, as the page and the job's check of memory say it."""
    spec = RecordSpec(
        model=ModelSpec(source=source, device="cpu"),
        prompt="ben has 3 red balls",
        sampling=sampling,
        mass_dtype=mass_dtype,
    )
    model = load(spec.model)
    prompt = len(model.encode(spec.prompt, spec.chat_template)[0])
    expected = planned_bytes(sampling, find(source).geometry, prompt, 0, mass_dtype)
    outcome = jobs.record(spec, QuietContext(tmp_path))
    with outcome.file.open("rb") as file:
        description = 8 + int.from_bytes(file.read(8), "little")
    recording = open_trajectory(outcome.file)
    written = outcome.file.stat().st_size - description
    final = 4 * recording.positions
    if recording.positions == prompt + sampling.gen_length:
        assert expected == written - final
    else:  # an autoregressive text ends where it ends
        assert sampling.sampler == "autoregressive"
        assert written - final <= expected


def test_a_recording_larger_than_memory_is_refused_before_it_starts(monkeypatch, tmp_path):
    monkeypatch.setattr("analysis.jobs.recordings.free_memory", lambda: 1000)
    spec = RecordSpec(model=ModelSpec(device="cpu"), prompt="ben", sampling=LLaDASampling(gen_length=4, steps=2))
    with pytest.raises(UserError, match="Not enough memory for this recording"):
        jobs.record(spec, QuietContext(tmp_path))


def test_a_full_disk_leaves_no_half_recording(trajectory, tmp_path, monkeypatch):
    def full(arrays, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("analysis.recording.trajectory_file.save_file", full)
    with pytest.raises(UserError, match="No space left"):
        save(trajectory, tmp_path / "recording.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_trajectories_are_immutable_values(trajectory):
    with pytest.raises(dataclasses.FrozenInstanceError):
        trajectory.mass = None
