"""Add a parameter of the discount: one field of `DiscountParams`, and its use in `analysis/sinks/discount.py`.

Control, flags and docs come from the field. With a range and a step, or with choices, it can be searched. A discount to
begin with is one row in `PRESETS` of `analysis/specs/tuning.py`.
"""

import pytest

from analysis.specs import DiscountParams, parameter


class DiscountWithFloor(DiscountParams):
    """Example; in the project the field is in `DiscountParams` itself."""

    least_weight: float = parameter(
        0.0,
        "Least weight",
        "No token counts less than this, however much of a sink it is.",
        ge=0,
        le=1,
        step=0.05,
        source="ours",
    )


assert DiscountWithFloor(least_weight=0.2).discount_strength == 1
with pytest.raises(ValueError, match="less than or equal to 1"):
    DiscountWithFloor(least_weight=2)
