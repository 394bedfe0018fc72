"""What Streamlit's caches go by: a recording or a pruned model by its key, parameters by their values."""

import dataclasses
import importlib
import pkgutil
import typing

import numpy as np
import plotly.graph_objects as go
import pytest
from streamlit.runtime.caching.cache_utils import CachedFunc

import pages.parts
from analysis.engine import JobRecord
from analysis.figures import sweep
from analysis.specs import SinkParams
from pages.parts.charts import kept
from pages.parts.masks.pruned_models import Pruned
from pages.parts.recordings import measures
from pages.parts.recordings.recording import Recording

KEYED = (Recording, Pruned)


def cached_functions() -> dict[str, CachedFunc]:
    modules = [
        importlib.import_module(each.name) for each in pkgutil.walk_packages(pages.parts.__path__, "pages.parts.")
    ]
    return {
        f"{module.__name__}.{name}": function
        for module in modules
        for name, function in vars(module).items()
        if isinstance(function, CachedFunc)
    }


def job(job_id: str) -> JobRecord:
    return JobRecord(id=job_id, kind="record", spec={"model": {"source": "bundled"}}, created=0, key=job_id)


def test_every_cache_goes_by_the_key_of_what_it_is_given():
    """Streamlit would walk through all arrays of a dataclass, gigabytes of them, at every call."""
    checked = set()
    for name, function in cached_functions().items():
        for argument, hint in typing.get_type_hints(function.__wrapped__).items():
            for kind in KEYED:
                if argument != "return" and kind in (hint, *typing.get_args(hint)):
                    assert kind in (function._info.hash_funcs or {}), f"{name}: {argument}"
                    checked.add(kind)
    assert checked == set(KEYED)


def test_a_measure_is_kept_by_recording_and_parameters_and_reads_no_array_to_find_it(trajectory, monkeypatch):
    mass = trajectory.mass.astype(np.float32)
    first = Recording(job("a"), "cache-test-a", dataclasses.replace(trajectory, mass=mass))
    other = Recording(job("b"), "cache-test-b", dataclasses.replace(trajectory, mass=mass[:, ::-1, ::-1, ::-1]))
    monkeypatch.setattr(dataclasses, "asdict", lambda value: pytest.fail(f"{type(value).__name__} was read through"))
    strict, loose = SinkParams(k=6), SinkParams(k=0.5)
    flags = measures.sinks(first, loose)
    assert flags.sum() > measures.sinks(first, strict).sum()
    np.testing.assert_array_equal(measures.sinks(other, loose), flags[:, ::-1])
    # The same key is the same content: what was computed is found again, whoever opened the file this time.
    emptied = Recording(job("c"), first.key, dataclasses.replace(trajectory, mass=mass * 0))
    np.testing.assert_array_equal(measures.sinks(emptied, SinkParams(k=0.5)), flags)


def test_a_measure_that_looks_at_no_sinks_is_not_computed_again_when_their_rule_changes(trajectory, monkeypatch):
    recording = Recording(job("d"), "cache-test-d", trajectory)
    entropy = measures.head_metric(recording, "entropy", SinkParams(k=1))
    monkeypatch.setattr(measures.metrics, "HEAD_METRICS", {"entropy": _NoMetric})
    np.testing.assert_array_equal(measures.head_metric(recording, "entropy", SinkParams(k=3), True), entropy)


def test_a_figure_is_kept_by_the_content_of_what_it_shows():
    drawn = []

    def figure(curves: list[sweep.Curve], title: str) -> go.Figure:
        drawn.append(title)
        return sweep.accuracy(curves, title, None, None)

    def curves(last: float) -> list[sweep.Curve]:
        mean = np.array([0.5, last])
        return [sweep.Curve("wanda", np.array([0.5, 0.7]), mean, mean, mean, np.ones(2), "wanda")]

    of = kept(figure)
    first = of(curves(0.4), "sparsity")
    assert of(curves(0.4), "sparsity") is first
    other = of(curves(0.3), "sparsity")
    np.testing.assert_allclose(other.data[0].y, [50, 30], rtol=1e-6)
    of(curves(0.4), "size")
    assert drawn == ["sparsity", "sparsity", "size"]


class _NoMetric:
    reads_sinks = False

    @staticmethod
    def compute(heads):
        raise AssertionError("computed again")
