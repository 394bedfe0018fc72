"""Points of sweeps are found again by their names, also by later versions."""

from analysis.engine.sweeps import _digest
from analysis.specs import PruneSpec, parameter


def test_the_name_of_a_point_does_not_change_when_a_parameter_is_added():
    class Later(PruneSpec):
        added: int = parameter(3, "Added", "Something new.")

    spec = PruneSpec(method="wanda-noised", sparsity=0.6)
    fields = spec.model_dump(exclude_defaults=True)
    assert _digest(Later.model_validate(fields)) == _digest(spec)
    assert _digest(Later.model_validate({**fields, "added": 4})) != _digest(spec)
