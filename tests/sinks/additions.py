"""A sink definition, two metrics, a measure of masks and a target that only tests have. Workers take in what they need
of them as a preload of dask.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from analysis.pruned.compare import MEASURES, Measure, sparsities
from analysis.recording.ablation import Candidates
from analysis.sinks.definitions import Moments
from analysis.sinks.metrics import CURVES, HEAD_METRICS, HeadMetric, Heads, StepMetric
from analysis.specs import DEFINITIONS, TARGETS, SinkDefinition, Target


def _multiple(row: Moments, visible: np.ndarray, epsilon: float) -> np.ndarray:
    return np.float32(epsilon) * row.mean


def _lightest(at: Candidates) -> np.ndarray:
    return np.argsort(at.total)[: at.count]


DEFINITION = SinkDefinition(
    "multiple",
    "Mass above a multiple of the mean",
    "mass above ε times the mean, for a test.",
    "epsilon",
    r"M_{t,s} > \varepsilon \operatorname{mean}_s(M_t)",
    implementation=_multiple,
)
TARGET = Target("lightest", "lightest positions", "as many of the lightest positions", implementation=_lightest)


def heaviest(mass: np.ndarray, sinks: np.ndarray, looked_at: np.ndarray) -> np.ndarray:
    return np.nanmax(np.where(looked_at, mass, np.nan), axis=-1)


CURVE = StepMetric(
    "heaviest",
    "Heaviest position",
    "mass",
    "The mass of the heaviest position, for a test.",
    r"\max_s m_{t,s}",
    heaviest,
    by_kind=True,
    compares_steps=True,  # so that noised text goes without it
)


def value_span(heads: Heads) -> np.ndarray:
    assert heads.value_total is not None, "the row says that it reads the values"
    return np.ptp(heads.value_total, axis=0).repeat(heads.mass.shape[2] // heads.value_total.shape[2], axis=1)


HEAD_METRIC = HeadMetric(
    "value-span",
    "Span of the values",
    "How far the summed value norms of the steps lie apart, for a test",
    r"\max_t \sum_s v - \min_t \sum_s v",
    value_span,
    per_step=False,
    reads_sinks=False,
    reads_values=True,
)


def kept_apart(counts: np.ndarray) -> np.ndarray:
    p, q = sparsities(counts)
    return np.abs(p - q)


MEASURE = Measure(
    "apart", "Sparsities apart", "How far the sparsities lie apart, for a test", "|p - q|", kept_apart, kept_apart
)


def dask_setup(worker: Any) -> None:
    """Adds what jobs use; dask calls it in every worker."""
    DEFINITIONS.add(DEFINITION)
    TARGETS.add(TARGET)


@contextmanager
def added() -> Iterator[None]:
    """All of them in this process, for as long as it is open."""
    dask_setup(None)
    CURVES.add(CURVE)
    HEAD_METRICS.add(HEAD_METRIC)
    MEASURES.add(MEASURE)
    try:
        yield
    finally:
        for table, row in (
            (DEFINITIONS, DEFINITION),
            (TARGETS, TARGET),
            (CURVES, CURVE),
            (HEAD_METRICS, HEAD_METRIC),
            (MEASURES, MEASURE),
        ):
            del table[row.name]
