"""The noise that alone fits a model, where the command names none."""

from analysis.specs import CalibrationParams, ModelSpec


def with_own_noise(calibration: CalibrationParams, model: ModelSpec) -> CalibrationParams:
    """The parameters with the noise of a model that has no [MASK] to noise text with; of every other as they are.

    Raises UserError for a source that names no model.
    """
    from analysis.models.checkpoint import describe

    family = describe(model.source, model.paradigm)
    if family.noise != "uniform":
        return calibration
    return calibration.model_copy(update={"noise": family.calibration_noise})
