"""The measures of geometry on geometries that are known, and as the job measures them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from analysis import jobs
from analysis.sinks.geometry import (
    MEASURES,
    by_layer,
    effective_rank,
    neighbour_distances,
    participation_ratio,
    sentence,
    two_nn,
)
from analysis.specs import GeometrySpec, ModelSpec
from tests.helpers import QuietContext


@settings(max_examples=10)
@given(dimension=st.integers(1, 6), around=st.integers(0, 10), seed=st.integers(0, 2**31))
def test_a_uniform_cloud_has_about_its_own_dimension(dimension, around, seed):
    rng = np.random.default_rng(seed)
    cloud = rng.uniform(size=(800, dimension))
    turned, _ = np.linalg.qr(rng.normal(size=(dimension + around, dimension + around)))
    found = two_nn(*neighbour_distances(cloud @ turned[:dimension] + 3))
    assert found == pytest.approx(dimension, rel=0.25), "whatever space it lies in"


def test_points_that_stand_twice_are_left_out_and_few_have_no_dimension():
    rng = np.random.default_rng(0)
    cloud = rng.uniform(size=(500, 2))
    doubled = np.concatenate([cloud, np.tile(cloud[:1], (20, 1))])
    assert two_nn(*neighbour_distances(doubled)) == pytest.approx(2, rel=0.3)
    assert np.isnan(two_nn(*neighbour_distances(np.tile(cloud[:1], (50, 1)))))
    assert np.isnan(two_nn(*neighbour_distances(cloud[:5])))
    with pytest.raises(ValueError, match="no two neighbours"):
        neighbour_distances(cloud[:2])


@given(rank=st.integers(1, 12), scale=st.floats(1e-3, 1e3))
def test_equal_singular_values_count_themselves(rank, scale):
    singular = np.zeros(12)
    singular[:rank] = scale
    assert effective_rank(singular) == pytest.approx(rank)
    assert participation_ratio(singular) == pytest.approx(rank)


@given(st.lists(st.floats(0, 1e3), min_size=2, max_size=12).filter(lambda values: max(values) > 1e-3))
def test_ranks_lie_between_one_and_the_size(values):
    singular = np.array(values)
    for measure in (effective_rank, participation_ratio):
        assert 1 - 1e-6 <= measure(singular) <= len(values) + 1e-6
    assert np.isnan(effective_rank(np.zeros(3))) and np.isnan(participation_ratio(np.zeros(3)))


def test_uniform_attention_has_rank_one_and_attention_to_oneself_full_rank():
    uniform, identity = np.full((8, 8), 1 / 8), np.eye(8)
    assert effective_rank(np.linalg.svd(uniform)[1]) == pytest.approx(1, abs=1e-6)
    assert effective_rank(np.linalg.svd(identity)[1]) == pytest.approx(8)


def test_the_job_measures_every_layer_and_head_beside_random_weights(bundled, tmp_path):
    spec = GeometrySpec(
        model=ModelSpec(device="cpu"), inputs=(tuple(range(5, 29)), (1,) * 24), prompt_length=3, random_models=2
    )
    outcome = jobs.geometry(spec, QuietContext(tmp_path))
    arrays, shape = load_file(outcome.file), bundled.geometry
    assert set(arrays) == {f"{kind}_{name}" for kind in ("own", "random") for name in MEASURES}
    for name in MEASURES:
        heads = () if name == "dimension" else (shape.heads,)
        assert arrays[f"own_{name}"].shape == (2, shape.layers, *heads)
        assert arrays[f"random_{name}"].shape == (2, 2, shape.layers, *heads)
    assert (arrays["own_map_rank"] >= 1).all() and (arrays["own_map_rank"] <= 24).all()
    assert not np.allclose(arrays["random_map_rank"][0], arrays["random_map_rank"][1])
    assert outcome.summary["seeds"] == [0, 1]


def test_what_is_said_counts_layers_outside_the_range_and_is_silent_inside():
    random = np.array([[4.0, 5.0, 6.0], [4.5, 5.5, 6.5], [4.2, 5.2, 6.2]])
    told = sentence(np.array([1.0, 5.3, 9.0]), random)
    assert told.startswith("Above every one of 3 models") and "in 1 of 3 layers, below all of them in 1:" in told
    alone = sentence(np.array([1.0, 5.3, 5.9]), random)
    assert (
        alone.startswith("Below every one of 3 models")
        and "above" not in alone.lower()
        and "in 2 of 3 layers: 4.1" in alone
    )
    assert sentence(random.mean(axis=0), random) == ""
    assert by_layer(np.array([[[1.0, np.nan], [3.0, 5.0]]])).tolist() == [1.0, 4.0]
