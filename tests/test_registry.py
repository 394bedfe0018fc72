"""Rows of registries, and what does their work."""

import pytest

from analysis.calibration.noise import MASKINGS
from analysis.claims.evidence import EVIDENCE
from analysis.engine.studies import CHILDREN, CLAIM_CHILDREN
from analysis.jobs.claim_measures import SCORED
from analysis.jobs.objectives import OBJECTIVE_FUNCTIONS
from analysis.pruning.allocation import PREFERENCES
from analysis.pruning.run import ALGORITHMS, QUANTIZATIONS
from analysis.recording.ablation import CHOOSERS, CONTROL_CHOOSERS
from analysis.recording.claim_looks import LOOKS, TOGETHER
from analysis.recording.interventions import EDITS
from analysis.recording.keeping import RANKINGS
from analysis.recording.weight_nulls import DRAWS
from analysis.registry import Implementations
from analysis.sinks.definitions import THRESHOLDS
from analysis.sinks.movement import WEIGHT_NULLS
from analysis.specs import NOISES, POLICIES
from analysis.specs.pruning_choices import Noise
from cache.keys import Code
from tests.helpers import ROOT

WHERE = {
    "analysis.calibration.noise": [MASKINGS],
    "analysis.claims.evidence": [EVIDENCE],
    "analysis.engine.studies": [CHILDREN, CLAIM_CHILDREN],
    "analysis.jobs.objectives": [OBJECTIVE_FUNCTIONS],
    "analysis.pruning.allocation": [PREFERENCES],
    "analysis.pruning.run": [ALGORITHMS, QUANTIZATIONS],
    "analysis.recording.ablation": [CHOOSERS, CONTROL_CHOOSERS],
    "analysis.recording.interventions": [EDITS],
    "analysis.recording.claim_looks": [LOOKS],
    "analysis.recording.keeping": [RANKINGS],
    "analysis.recording.weight_nulls": [DRAWS],
    "analysis.sinks.definitions": [THRESHOLDS],
}

# Computed from another row's positions, from the recording itself, and with other prompts or items.
NOTHING_TO_DO = {"unit", "shuffled", "fixed", TOGETHER, SCORED}


@pytest.mark.parametrize("module", WHERE)
def test_every_implementation_is_there_and_in_the_keys_of_results_that_it_makes(module):
    """Whoever computes with a table imports its module, by which the code of a result is told."""
    code = Code(ROOT).closure(module)
    for table in WHERE[module]:
        without = set(table.rows) - set(table)
        assert without <= NOTHING_TO_DO | {name for name, row in POLICIES.items() if row.matched}
        for name, found in table.items():
            assert found is not None
            home = getattr(found, "__module__", module) if callable(found) else module
            assert home in code, f"{name} is made in {home}"


def test_a_row_brings_its_implementation_or_the_name_of_one():
    assert set(DRAWS) == set(WEIGHT_NULLS)
    row = Noise("half", "half", "Half of it.", implementation="analysis.calibration.noise:not_at_all")
    NOISES.add(row)
    try:
        assert MASKINGS["half"] is MASKINGS["none"]
    finally:
        del NOISES["half"]
    with pytest.raises(KeyError):
        Implementations(NOISES)["half"]
