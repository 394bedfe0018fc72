"""The data that an explorer is sent."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest

from analysis import jobs
from analysis.models.registry import MODELS
from analysis.models.resident import release_resident
from analysis.recording import explored as shipped_nulls
from analysis.recording.explored import explored, packed_text, unpacked_text, with_state
from analysis.recording.inside_specs import reference_spec
from analysis.recording.trajectory_file import open_trajectory
from analysis.sinks.definitions import mean_mass
from analysis.specs import LLaDASampling, ModelSpec, RecordSpec
from analysis.study.findings import EXAMPLE, read
from tests.helpers import QuietContext
from tests.recording.block_texts import block_trajectory
from training.nulls import head_shares_by_step


def test_the_text_of_an_explorer_gives_back_its_bytes():
    written = [block_trajectory(), block_trajectory(cached=True)]
    relative = [replace(each, mass=each.relative_mass()) for each in written]
    packed = explored(relative, ["one", "two"])
    chosen = with_state(packed, {"step": "3"})
    assert unpacked_text(packed_text(packed)) == packed != chosen == unpacked_text(packed_text(chosen))
    assert with_state(chosen, {}) == packed


def test_the_text_in_the_shipped_study_is_of_this_coding():
    text = read(EXAMPLE).explorer
    assert packed_text(unpacked_text(text)) == text


def test_random_weights_that_ship_come_back_rounded_and_only_for_the_same_inputs(tmp_path, monkeypatch):
    trajectory = block_trajectory()
    masses = np.random.default_rng(0).uniform(0.9, 1.1, (3, *trajectory.state.shape)).astype(np.float32)
    masses[:, ~trajectory.present] = np.nan
    monkeypatch.setattr(shipped_nulls, "FILE", tmp_path / "nulls.npz")
    shares = masses[:, :, 0] / 4
    # no forward reads an end that is written
    shipped_nulls.write([(trajectory, masses[..., :-1], shares)], shipped_nulls.FILE)
    assert np.allclose(shipped_nulls.shipped_head_shares(trajectory), shares, atol=1e-3, equal_nan=True)
    found = shipped_nulls.shipped_masses(trajectory)
    assert found is not None and np.isnan(found[..., -1]).all()
    assert np.allclose(found[..., :-1], masses[..., :-1], atol=1 / 1024, equal_nan=True)
    other = replace(trajectory, tokens=np.roll(trajectory.tokens, 1, axis=1))
    assert shipped_nulls.shipped_masses(other) is None and shipped_nulls.shipped_head_shares(other) is None
    shipped_nulls._shipped.cache_clear()


def test_the_shipped_recording_stands_beside_eight_draws_of_random_weights():
    packed = unpacked_text(read(EXAMPLE).explorer)
    (length,) = struct.unpack_from("<I", packed)
    header = json.loads(packed[4 : 4 + length])
    diffusion, _ = header["tracks"]
    assert header["arrays"]["0.nullModel"][2] == 8 * diffusion["steps"] * diffusion["positions"]
    assert header["arrays"]["0.nullOwn"][2] == 8 * diffusion["steps"]


@pytest.mark.slow
def test_random_weights_that_ship_are_what_a_reference_observes(tmp_path):
    spec = RecordSpec(
        model=ModelSpec(source="bundled", device="cpu"),
        prompt=MODELS["bundled"].prompt,
        sampling=LLaDASampling(gen_length=48, steps=48),
    )
    recording = _opened(jobs.record(spec, QuietContext(tmp_path)))
    drawn = _opened(jobs.reference(reference_spec(recording, spec.model, 1), QuietContext(tmp_path)))
    release_resident()
    shipped = shipped_nulls.shipped_masses(recording)
    assert shipped is not None and np.allclose(shipped[1], mean_mass(drawn.mass), atol=1 / 512, equal_nan=True)
    shares = shipped_nulls.shipped_head_shares(recording)
    assert shares is not None and np.allclose(shares[1], head_shares_by_step(drawn), atol=5e-3)


def _opened(outcome):
    trajectory = open_trajectory(outcome.file)
    return replace(trajectory, mass=trajectory.relative_mass())
