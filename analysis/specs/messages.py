"""Validation errors as a person reads them."""

from pydantic import ValidationError

from analysis.specs.jobs import JOB_SPECS
from analysis.specs.models import ModelSpec
from analysis.specs.pruning import CalibrationParams, DiscountParams, StepParams
from analysis.specs.sampling import SAMPLINGS
from analysis.specs.sinks import SinkParams
from analysis.specs.tuning import StatisticsParams, TuneParams

_NESTED = (CalibrationParams, DiscountParams, StepParams, StatisticsParams, TuneParams)


def sentence(error: ValidationError) -> str:
    """One readable line for a validation error: which parameter, what is wrong with it."""
    lines = []
    for issue in error.errors():
        message = issue["msg"].removeprefix("Value error, ")
        name = ".".join(_label(str(part), error.title) for part in issue["loc"] if part not in SAMPLINGS)
        lines.append(f"{name}: {message}" if name and issue["type"] != "value_error" else message)
    return "; ".join(lines)


def _label(name: str, asked: str) -> str:
    """The label of the parameter with this field name, of the spec called `asked` before all others; or the name."""
    specs = [ModelSpec, SinkParams, *_NESTED, *SAMPLINGS.values(), *JOB_SPECS.values()]
    specs.sort(key=lambda spec: spec.__name__ != asked)
    return next((spec.model_fields[name].title or name for spec in specs if name in spec.model_fields), name)
