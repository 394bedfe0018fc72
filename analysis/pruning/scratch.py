"""Statistics of the dense model, kept so that an interrupted pruning need not gather them again."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from analysis.pruning.algorithm import Prepared


def save_prepared(prepared: Prepared, path: Path) -> None:
    """Write it, under another name until it is whole."""
    tensors = {
        f"{layer}|{name}": score.clone()
        for layer, scores in enumerate(prepared.scores or [])
        for name, score in scores.items()
    }
    if prepared.token_weights is not None:
        tensors["token weights"] = torch.from_numpy(prepared.token_weights)
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, {"facts": json.dumps(prepared.facts)})
    partial.replace(path)


def load_prepared(path: Path) -> Prepared:
    """Read it."""
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()["facts"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a handle is no mapping
    weights = tensors.pop("token weights", None)
    layers = 1 + max((int(name.partition("|")[0]) for name in tensors), default=-1)
    scores: list[dict[str, torch.Tensor]] = [{} for _ in range(layers)]
    for name, score in tensors.items():
        layer, _, projection = name.partition("|")
        scores[int(layer)][projection] = score
    return Prepared(scores or None, None if weights is None else weights.numpy(), facts)
