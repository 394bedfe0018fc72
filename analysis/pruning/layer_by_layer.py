"""The blocks one after the other, with the statistics of what each of them reads."""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from analysis.calibration.activations import Rows, level_rows
from analysis.calibration.norms import UNREACHED, Statistic, at_layer, by_projection, of_layer
from analysis.calibration.runners import hooked, noised_layout, reading
from analysis.models.blocks import BlockInput, first_input, private_block, run_block
from analysis.pruning.algorithm import Calibration, LayerBatch, Prepared
from analysis.pruning.run import PRUNING, PruningRun
from analysis.pruning.wanda import step_weights_of


@dataclass(frozen=True, eq=False)
class Gathering:
    """One statistic that is gathered of every block's inputs.

    batches: the rows that pass through the blocks. token_weights: what weighs them, as of `Prepared`. noised: whether
    they are laid out as noised text. layerwise: whether the finished blocks feed the next ones, or the dense ones do.
    scored: whether a matrix without tokens gets even scores.
    """

    statistic: type[Statistic]
    batches: list[LayerBatch]
    token_weights: np.ndarray | None
    noised: bool
    layerwise: bool
    scored: bool

    @property
    def stream(self) -> tuple[bool, bool]:
        """Equal for those whose rows pass through the blocks together."""
        return self.noised, self.layerwise


class Gathered(NamedTuple):
    """Statistics of a block's inputs, by projection, for its method and for its quantizer."""

    method: dict[str, Any]
    quantizer: dict[str, Any]


def gatherings(
    run: PruningRun, text: Calibration | None, prepared: Prepared
) -> tuple[Gathering | None, Gathering | None]:
    """Return what the method and what the quantizer gathers: None if it gathers nothing, one object if both gather the
    same.
    """
    of_method = of_quantizer = None
    if text is not None and run.statistic is not None and run.gathers:
        of_method = Gathering(
            run.statistic,
            layer_batches(run, text, prepared),
            prepared.token_weights,
            run.method.weighs_steps,
            run.spec.layerwise,
            run.algorithm.score is not None,
        )
    statistic = None if run.quantization is None else run.quantization.statistic
    if text is not None and statistic is not None:
        weights = prepared.quantizer_weights
        noised = weights is not None
        batches = _noised_batches(run, text, weights) if weights is not None else _clean_batches(text)
        of_quantizer = Gathering(statistic, batches, weights, noised, layerwise=True, scored=False)
        if of_method is not None and of_method.statistic is statistic and of_method.stream == of_quantizer.stream:
            of_quantizer = of_method if of_method.token_weights is weights else of_quantizer
    return of_method, of_quantizer


def blocks(
    run: PruningRun, text: Calibration | None, prepared: Prepared
) -> Generator[tuple[int, nn.Module, Gathered], None, None]:
    """Each block as a private copy, with the statistics of its inputs where method or quantizer gathers any.

    The caller prunes and quantizes the copy; the next block's inputs then come from the changed one, or for a method
    that ranks by the dense model from the dense one. A block's own statistics are of its dense copy.
    """
    model, layers = run.model, run.model.geometry.layers
    of_method, of_quantizer = gatherings(run, text, prepared)
    kinds = list({id(each): each for each in (of_method, of_quantizer) if each is not None}.values())
    if not kinds:
        for layer in range(layers):
            yield layer, private_block(model, layer, run.stored), Gathered({}, {})  # not held while the next is read
        return
    given: dict[tuple[bool, bool], list[BlockInput]] = {}
    for kind in kinds:
        if kind.stream not in given:
            layout = noised_layout(model) if kind.noised else None
            given[kind.stream] = [first_input(model, batch.tokens, layout) for batch in kind.batches]
    steps, done = sum(map(len, given.values())), 0
    for layer in range(layers):
        block = private_block(model, layer, run.stored)
        gathered = [{name: kind.statistic() for name in run.runner.groups[layer]} for kind in kinds]
        for stream, rows in given.items():
            for number, inputs in enumerate(rows):
                run.tell(PRUNING, done, layers * steps)
                done += 1
                takers = [
                    (statistics, kind.batches[number].weights(layer))
                    for kind, statistics in zip(kinds, gathered, strict=True)
                    if kind.stream == stream
                ]
                _read_inputs(run, layer, block, inputs, takers)
        told = {
            id(kind): _by_projection(run, layer, kind, statistics, "" if kind is of_method else "quantizer_")
            for kind, statistics in zip(kinds, gathered, strict=True)
        }
        del gathered
        further = given if layer + 1 < layers else {}
        for (_, layerwise), rows in further.items():
            if not layerwise:
                _feed(block, rows)
        yield layer, block, Gathered(told.get(id(of_method), {}), told.get(id(of_quantizer), {}))
        for (_, layerwise), rows in further.items():
            if layerwise:
                _feed(block, rows)
        del block, told  # before the next is read


def _read_inputs(
    run: PruningRun, layer: int, block: nn.Module, inputs: BlockInput, takers: Sequence[tuple[dict[str, Any], Any]]
) -> None:
    """Run a block over one batch. takers: statistics by input, and the batch's weights for them."""

    def take(_: int, name: str, states: torch.Tensor, positions: torch.Tensor | None) -> None:
        for statistics, weights in takers:
            statistics[name].add(states, weights, positions)

    with torch.no_grad(), hooked(run.model.projections, [(layer, block)], run.runner.groups, reading(take), ends=True):
        run_block(block, inputs)


def _by_projection(
    run: PruningRun, layer: int, kind: Gathering, gathered: dict[str, Any], prefix: str
) -> dict[str, Any]:
    """The finished statistics by projection. prefix: of the names of their facts in the report."""
    told, missed = by_projection(gathered, run.runner.groups[layer], kind.scored)
    if missed:
        run.facts.setdefault(UNREACHED, {})[str(layer)] = missed
    for first, statistic in gathered.items():
        for fact, value in statistic.facts.items():
            run.facts.setdefault(f"{prefix}{fact}", []).append({"layer": layer, "input": first, fact: value})
    return told


def _feed(block: nn.Module, given: Iterable[BlockInput]) -> None:
    """Make a block's outputs the inputs of the next."""
    for inputs in given:
        inputs.states = run_block(block, inputs)


def layer_batches(run: PruningRun, text: Calibration, prepared: Prepared) -> list[LayerBatch]:
    """The rows that pass through the blocks where statistics are gathered: the clean text, or for a method that weighs
    noise steps every distinct row of them.
    """
    weights = prepared.token_weights
    if run.method.weighs_steps:
        assert text.noised is not None and weights is not None
        levels = level_rows(text.noised, step_weights_of(run.spec))
        return [LayerBatch(rows.tokens, _by_row(rows, weights)) for rows in levels]
    if weights is None:
        return _clean_batches(text)
    return [LayerBatch(batch.tokens, _by_token(weights[batch.rows], run.model.device)) for batch in text.batches()]


def _clean_batches(text: Calibration) -> list[LayerBatch]:
    return [LayerBatch(batch.tokens, lambda layer: None) for batch in text.batches()]


def _noised_batches(run: PruningRun, text: Calibration, weights: np.ndarray) -> list[LayerBatch]:
    """Every distinct row of the noised text. Sequences that share one weigh their tokens by (Σ c·ω²)^½, which has the
    same Hessian."""
    assert text.noised is not None
    levels = level_rows(text.noised, step_weights_of(run.spec))
    return [LayerBatch(rows.tokens, _by_noised_token(rows, weights, run.model.device)) for rows in levels]


def _by_noised_token(rows: Rows, weights: np.ndarray, device: torch.device) -> Callable[[int], Any]:
    weighed = rows.weighed(weights)

    def tokens(layer: int) -> torch.Tensor:
        squares = [
            times * np.square(weight, dtype=np.float64).sum(axis=0) for weight, times in of_layer(weighed, layer)
        ]
        return torch.from_numpy(np.sqrt(np.stack(squares)).astype(np.float32)).to(device)

    return tokens


def _by_row(rows: Rows, weights: np.ndarray) -> Callable[[int], Any]:
    weighed = rows.weighed(weights)
    return lambda layer: of_layer(weighed, layer)


def _by_token(weights: np.ndarray, device: torch.device) -> Callable[[int], Any]:
    return lambda layer: torch.from_numpy(at_layer(weights, layer)).to(device)
