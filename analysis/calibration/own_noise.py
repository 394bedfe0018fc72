"""The noise that alone fits a model, where none is named."""

from analysis.specs import CalibrationParams, ModelSpec, SweepSpec


def with_own_noise(calibration: CalibrationParams, model: ModelSpec) -> CalibrationParams:
    """The parameters with the noise of a model that has no [MASK] to noise text with; of every other as they are.

    Raises UserError for a source that names no model.
    """
    from analysis.models.checkpoint import describe  # bad input is refused without it

    family = describe(model.source, model.paradigm)
    if family.noise != "uniform":
        return calibration
    return calibration.model_copy(update={"noise": family.calibration_noise})


def swept_with_own_noise(spec: SweepSpec) -> SweepSpec:
    """The sweep with its model's own noise; of several models with that of the first, as all are swept alike.

    Raises UserError for a source that names no model.
    """
    calibration = with_own_noise(spec.pruning.calibration, spec.model)
    return spec.model_copy(update={"pruning": spec.pruning.model_copy(update={"calibration": calibration})})
