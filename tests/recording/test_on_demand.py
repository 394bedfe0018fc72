"""What a recording holds only where it is asked for: mass by the state of the query, drift of keys and values."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis import jobs
from analysis.attention import MapObserver
from analysis.errors import UserError
from analysis.recording.trajectory import BY_QUERY, planned_bytes
from analysis.recording.trajectory_file import open_trajectory, save
from analysis.sinks.step_inputs import TokenState
from analysis.specs import AutoregressiveSampling, LLaDASampling, ModelSpec, RecordSpec
from tests.helpers import QuietContext

DRIFT = ("key_drift", "value_drift")


def recorded(folder, **changes):
    spec = RecordSpec(
        model=ModelSpec(device="cpu"),
        prompt="mia has a dog .",
        sampling=LLaDASampling(gen_length=6, steps=3),
        by_query=True,
        drift=True,
    )
    return jobs.record(spec.model_copy(update=changes), QuietContext(folder))


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    return open_trajectory(recorded(tmp_path_factory.mktemp("told")).file)


def test_each_state_s_queries_pay_one_each(told, bundled):
    for state, mass in (
        (TokenState.UNDECIDED, told.undecided_mass),
        (TokenState.COMMITTED, told.mass - told.undecided_mass - told.given_mass),
        (TokenState.GIVEN, told.given_mass),
    ):
        counts = (told.state == state).sum(axis=1)
        paid = mass.astype(np.float32).sum(axis=-1)
        np.testing.assert_allclose(paid, np.broadcast_to(counts[:, None, None], paid.shape), atol=1e-3)
    observer = MapObserver(2, 4)
    bundled.predict(torch.tensor([told.input_tokens(1)]), observer)
    undecided = told.undecided[1]
    expected = observer.map.numpy()[undecided].sum(axis=0)
    np.testing.assert_allclose(told.undecided_mass[1, 2, 4], expected, atol=1e-4)


def test_drift_is_of_each_step_and_nothing_is_stored_larger_than_the_mass(told):
    for name in DRIFT:
        drift = getattr(told, name)
        assert drift.shape == (told.steps, told.layers, 2, told.positions) and drift.dtype == told.mass.dtype
        assert np.isnan(drift[0]).all() and (drift[1:] >= 0).all() and drift.nbytes <= told.mass.nbytes
    written = told.undecided[0] & ~told.undecided[1]
    assert (told.value_drift[1, 0, 1, written] > 0.1).all(), "another token has another value"
    assert (told.value_drift[1, 0, 1, ~written] < 1e-5).all(), "in layer 0 that of a token that stays is the same"


def test_what_was_not_asked_for_is_not_there_and_changes_nothing(told, tmp_path):
    plain = open_trajectory(recorded(tmp_path, by_query=False, drift=False).file)
    assert all(getattr(plain, name) is None for name in (*BY_QUERY, *DRIFT))
    assert np.array_equal(plain.mass, told.mass) and np.array_equal(plain.tokens, told.tokens)


def test_the_file_is_as_large_as_was_said(tmp_path, bundled):
    file = recorded(tmp_path, mass_dtype="float16").file
    with file.open("rb") as opened:
        description = 8 + int.from_bytes(opened.read(8), "little")
    recording = open_trajectory(file)
    given = recording.info.prompt_length
    planned = planned_bytes(recording.info.sampling, bundled.geometry, given, 0, "float16", by_query=True, drift=True)
    assert file.stat().st_size - description - 4 * recording.positions == planned


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("undecided_mass", lambda part: part + 5, "more than all queries pay"),
        ("given_mass", lambda part: -part, "negative"),
        ("given_mass", lambda part: part[:, :1], "shape"),
        ("key_drift", lambda drift: np.nan_to_num(drift), "missing"),
        ("value_drift", lambda drift: drift[:, :, :1], "shape"),
    ],
)
def test_damage_is_refused(told, tmp_path, name, change, said):
    with pytest.raises(UserError, match=said):
        save(replace(told, **{name: change(getattr(told, name))}), tmp_path / "damaged.safetensors")
    assert not (tmp_path / "damaged.safetensors").exists()


@pytest.mark.parametrize(
    ("source", "sampling"),
    [("bundled-ar", AutoregressiveSampling(gen_length=4)), ("bundled", LLaDASampling(gen_length=6, steps=3, cfg=0.5))],
)
def test_other_samplers_tell_it_too(tmp_path, source, sampling):
    model = ModelSpec(source=source, device="cpu")
    recording = open_trajectory(recorded(tmp_path, model=model, sampling=sampling).file)
    counts = (recording.state == TokenState.GIVEN).sum(axis=1)
    np.testing.assert_allclose(np.nansum(recording.given_mass, axis=-1)[:, 0, 0], counts, atol=1e-3)
    assert np.isfinite(recording.key_drift[1:][..., : recording.info.prompt_length]).all()


def test_queries_over_kept_keys_are_told_apart_and_drift_is_refused(tmp_path):
    cached = LLaDASampling(gen_length=6, steps=3, cache="prefix")
    recording = open_trajectory(recorded(tmp_path, sampling=cached, drift=False).file)
    assert recording.given_mass[1].max() == 0, "only what is written asks in later steps"
    with pytest.raises(UserError, match="kept keys"):
        recorded(tmp_path, sampling=cached)
