"""The geometry (analysis/sinks/geometry.py) of one forward: attention maps, heads' outputs and token states."""

import numpy as np
import torch

from analysis.attention import AttentionInputs
from analysis.models.layout import Layout
from analysis.models.loaded import LoadedModel
from analysis.recording.activations import BlockStates
from analysis.sinks.geometry import effective_rank, neighbour_distances, participation_ratio, two_nn


def geometry_of(model: LoadedModel, tokens: torch.Tensor, layout: Layout | None) -> dict[str, np.ndarray]:
    """The measures of one forward of tokens (1, S): (L, H) for maps and outputs, (L,) for the dimension, float32."""
    heads: dict[str, dict[int, list[float]]] = {
        name: {} for name in ("map_rank", "map_participation", "output_rank", "output_participation")
    }
    dimension: dict[int, float] = {}

    def attended(layer: int, inputs: AttentionInputs) -> None:
        for head in range(inputs.query.shape[1]):
            single = inputs.rows(1).head(head)
            attention = torch.cat(list(single.probabilities()), dim=2)[0, 0]  # (S, S) of one head alone
            output = attention @ single.value[0, 0].float()
            for kind, matrix in (("map", attention), ("output", output - output.mean(dim=0))):
                singular = torch.linalg.svdvals(matrix).cpu().numpy()
                heads[f"{kind}_rank"].setdefault(layer, []).append(float(effective_rank(singular)))
                heads[f"{kind}_participation"].setdefault(layer, []).append(float(participation_ratio(singular)))

    def passed(layer: int, states: torch.Tensor) -> None:
        points = states.cpu().numpy()
        dimension[layer] = two_nn(*neighbour_distances(points)) if len(points) > 2 else np.nan

    with BlockStates(model, passed):
        model.predict(tokens, attended, layout=layout)
    layers = sorted(dimension)
    measured = {name: np.array([rows[layer] for layer in layers], np.float32) for name, rows in heads.items()}
    return measured | {"dimension": np.array([dimension[layer] for layer in layers], np.float32)}
