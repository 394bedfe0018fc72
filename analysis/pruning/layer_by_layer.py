"""The blocks one after the other, with the statistics of what each of them reads."""

from collections.abc import Callable, Generator, Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from analysis.calibration.activations import Rows, level_rows, unreached_experts, with_even_scores
from analysis.calibration.runners import hooked, noised_layout, reading
from analysis.models.blocks import BlockInput, first_input, private_block, run_block
from analysis.pruning.algorithm import UNREACHED, Calibration, LayerBatch, Prepared
from analysis.pruning.run import PRUNING, PruningRun
from analysis.pruning.wanda import step_weights_of


def blocks(
    run: PruningRun, text: Calibration | None, prepared: Prepared
) -> Generator[tuple[int, nn.Module, dict[str, Any]], None, None]:
    """Each block as a private copy, with the statistics of its inputs where the method gathers any.

    The caller prunes the copy; the next block's inputs then come from the pruned one, or from the dense one where the
    spec ranks by the dense model.
    """
    model, layers = run.model, run.model.geometry.layers
    if run.statistic is None or not run.gathers:
        for layer in range(layers):
            yield layer, private_block(model, layer, run.stored), {}  # not held here while the next is read
        return
    assert text is not None
    batches = layer_batches(run, text, prepared)
    layout = noised_layout(model) if run.method.weighs_steps else None
    given = [first_input(model, batch.tokens, layout) for batch in batches]
    for layer in range(layers):
        block = private_block(model, layer, run.stored)
        statistics = _statistics(run, layer, block, batches, given)
        further = given if layer + 1 < layers else []
        if run.spec.layerwise:
            yield layer, block, statistics
            _feed(block, further)
        else:
            _feed(block, further)
            yield layer, block, statistics
        del block  # before the next is read


def _statistics(
    run: PruningRun, layer: int, block: nn.Module, batches: list[LayerBatch], given: list[BlockInput]
) -> dict[str, Any]:
    """What a block's inputs tell the method, by projection."""
    assert run.statistic is not None
    groups = run.runner.groups
    gathered = {name: run.statistic() for name in groups[layer]}
    for number, (batch, inputs) in enumerate(zip(batches, given, strict=True)):
        run.tell(PRUNING, layer * len(batches) + number, run.model.geometry.layers * len(batches))
        weights = batch.weights(layer)

        def take(
            _: int, name: str, states: torch.Tensor, positions: torch.Tensor | None, weights: Any = weights
        ) -> None:
            gathered[name].add(states, weights, positions)

        read = reading(lambda _: block, take)
        with torch.no_grad(), hooked(run.model.projections, [(layer, block)], groups, read, ends=True):
            run_block(block, inputs)
    done: dict[str, Any] = {first: statistic.done() for first, statistic in gathered.items()}
    missed = unreached_experts(first for first, statistic in gathered.items() if statistic.empty)
    if missed:
        run.facts.setdefault(UNREACHED, {})[str(layer)] = missed
    if run.algorithm.score is not None:
        done = with_even_scores(done, missed)
    statistics: dict[str, Any] = {}
    for first, together in groups[layer].items():
        statistics |= dict.fromkeys(together, done[first])
        for fact, value in gathered[first].facts.items():
            run.facts.setdefault(fact, []).append({"layer": layer, "input": first, fact: value})
    return statistics


def _feed(block: nn.Module, given: Iterable[BlockInput]) -> None:
    """Makes what a block gives the input of the next."""
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
        return [LayerBatch(batch.tokens, lambda layer: None) for batch in text.batches()]
    return [LayerBatch(batch.tokens, _by_token(weights[batch.rows], run.model.device)) for batch in text.batches()]


def _by_row(rows: Rows, weights: np.ndarray) -> Callable[[int], Any]:
    weighed = rows.weighed(weights)
    return lambda layer: [
        (row_weight[:, layer : layer + 1] if row_weight.shape[1] > 1 else row_weight, times)
        for row_weight, times in weighed
    ]


def _by_token(weights: np.ndarray, device: torch.device) -> Callable[[int], Any]:
    return lambda layer: torch.from_numpy(weights[:, layer if weights.shape[1] > 1 else 0]).to(device)
