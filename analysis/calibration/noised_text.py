"""Calibration text as a model's own noise leaves it: with [MASK], or with random tokens in its canvas."""

from collections.abc import Mapping

import numpy as np

from analysis.calibration.noise import noised_canvases, noised_sequences
from analysis.errors import UserError
from analysis.models.canvas import canvas_start
from analysis.models.loaded import LoadedModel
from analysis.specs import METHODS, NOISES, QUANTIZERS, CalibrationParams, Method, PruneSpec, Reader, either


def noised_text(model: LoadedModel, tokens: np.ndarray, params: CalibrationParams) -> np.ndarray:
    """Every sequence of tokens (N, S) at every noise step, (N, T, S), or (N, T, 2S) beside its clean copy. Text that is
    not noised has one step.
    """
    if NOISES[params.noise].clean:
        copies = 2 if model.architecture.beside_clean else 1
        return np.concatenate([tokens] * copies, axis=1)[:, None]
    if model.architecture.noise == "uniform":
        start = canvas_start(model.architecture, tokens.shape[1])
        return noised_canvases(tokens, params, model.geometry.vocabulary, start)
    assert model.mask_token is not None
    return noised_sequences(tokens, params, model.mask_token, beside_clean=model.architecture.beside_clean)


def calibration_states(model: LoadedModel, tokens: np.ndarray) -> np.ndarray:
    """States of calibration tokens (…, S) as numbers of their shape: [MASK] or not, in the noised text or in its clean
    copy; of a model whose noise is random tokens, in its canvas or before it.
    """
    if model.architecture.noise == "uniform":
        return clean_states(model, tokens)
    position = np.arange(tokens.shape[-1])
    copied = (position >= tokens.shape[-1] // 2) & model.architecture.beside_clean
    return np.asarray((tokens == model.mask_token) + 2 * copied.astype(np.int8))


def clean_states(model: LoadedModel, tokens: np.ndarray) -> np.ndarray:
    """States of clean calibration tokens (…, S), likewise: all alike, or in the canvas and before it."""
    if model.architecture.noise != "uniform":
        return np.zeros(tokens.shape, np.int8)
    start = canvas_start(model.architecture, tokens.shape[-1])
    return np.broadcast_to((np.arange(tokens.shape[-1]) >= start).astype(np.int8), tokens.shape)


def refuse_text(model: LoadedModel, spec: PruneSpec) -> None:
    """Raise UserError where a method or quantizer reads text that this model cannot be given: noised in a way that is
    not its own, or too short to hold a canvas and something before it.
    """
    family = model.architecture
    noised = next((row for row in spec.readers if row.noised), None)
    if noised is not None and family.noise is None:
        methods = {name: row for name, row in METHODS.items() if row.removes}
        table: Mapping[str, Reader] = methods if isinstance(noised, Method) else QUANTIZERS
        raise UserError(
            f"{noised.title} reads noised text, and this {family.name} model has no mask token. Choose "
            f"{either(name for name, row in table.items() if not row.noised)}."
        )
    if noised is not None:
        refuse_noise(model, spec.calibration)
    length = min(spec.calibration.seq_len, model.geometry.max_length)
    if spec.calibrated and family.noise == "uniform" and length <= (family.block_size or 0):
        raise UserError(
            f"The last {family.block_size} tokens of a sequence are the canvas of this {family.name} model, and "
            f"sequences of {length} tokens have none before it. Take a longer sequence length."
        )


def refuse_noise(model: LoadedModel, params: CalibrationParams) -> None:
    """Raise UserError for a noise that is not that of the model: [MASK], or random tokens."""
    random_tokens, noise = model.architecture.noise == "uniform", NOISES[params.noise]
    if not noise.fits(random_tokens):
        raise UserError(
            f"The noise of {model.architecture.name} is {'random tokens' if random_tokens else '[MASK]'}, and the "
            f"calibration asks for text noised {noise.title}. Choose the noise {either(fitting_noises(random_tokens))}."
        )


def fitting_noises(random_tokens: bool) -> list[str]:
    """The noises for models whose undecided tokens are random ones, or [MASK]."""
    return [name for name, row in NOISES.items() if row.fits(random_tokens)]
