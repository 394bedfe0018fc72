"""Memory of a model, computed from the shapes in its files before anything is loaded. Imports no torch.

weights     all elements of the files, in the precision they are run in; experts are among them, whichever are chosen
cache       of a model that reads its prompt into one: keys and values of every layer, of as many tokens as it holds
logits      of a canvas, for each word of the vocabulary: those of the last step in the weights' precision, and five
            in float32 while a step is sampled (logits, tempered, their logarithms, probabilities, entropy terms)
"""

import math
from dataclasses import dataclass
from typing import Any

from analysis.models.checkpoint import Checkpoint, main_dtype, stored_shapes
from analysis.models.weight_files import bytes_of
from analysis.specs import ModelSpec

SAMPLED_AT_ONCE = 5  # canvases of float32 logits, while a step is sampled


@dataclass(frozen=True)
class Need:
    """Bytes. experts: of the weights. cache, logits: 0 for models that have no canvas."""

    weights: int
    experts: int
    cache: int
    logits: int

    @property
    def beside(self) -> int:
        """Bytes needed besides the weights."""
        return self.cache + self.logits


def need_of(checkpoint: Checkpoint, spec: ModelSpec, tokens: int) -> Need:
    """Return the memory of a model with a text of so many tokens. Precision auto: that of the files, float32 on a
    CPU.
    """
    stated = {"bfloat16": 2.0, "float32": 4.0}.get(spec.dtype) or (4.0 if spec.device == "cpu" else None)
    width = stated or bytes_of(main_dtype(checkpoint))
    shapes = stored_shapes(checkpoint)
    sizes = {name: math.prod(shape) * (stated or bytes_of(dtype)) for name, (dtype, shape) in shapes.items()}
    experts = sum(size for name, size in sizes.items() if ".experts." in name)
    family = checkpoint.architecture
    cache = logits = 0.0
    if family.noise == "uniform":
        assert family.block_size is not None
        cache = width * sum(each * (min(tokens, room) if room else tokens) for each, room in cached_layers(checkpoint))
        logits = family.block_size * checkpoint.geometry.vocabulary * (4 * SAMPLED_AT_ONCE + width)
    return Need(int(sum(sizes.values())), int(experts), int(cache), int(logits))


def cached_layers(checkpoint: Checkpoint) -> list[tuple[int, int]]:
    """Return, for each layer, the numbers cached per token and the maximum number of tokens, 0 for all: a layer with a
    window holds the last ones before the canvas.

    A layer without a value projection derives its values from its keys, and caches them as well.
    """
    family, shapes = checkpoint.architecture, stored_shapes(checkpoint)
    text: Any = checkpoint.config.get(family.text) or {}
    kinds, window = text.get("layer_types") or [], text.get("sliding_window")
    layers = []
    for layer in range(checkpoint.geometry.layers):
        inside = f"{family.blocks}.{layer}.self_attn"
        keys, values = (
            next((shape[0] for name, (_, shape) in shapes.items() if name == f"{inside}.{part}.weight"), 0)
            for part in ("k_proj", "v_proj")
        )
        windowed = layer < len(kinds) and kinds[layer] == "sliding_attention" and isinstance(window, int)
        layers.append((keys + (values or keys), window - 1 if windowed else 0))
    return layers
