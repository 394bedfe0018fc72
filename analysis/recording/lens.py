"""The logit lens: what each layer's states already say, read by the model's own last norm and head.

nostalgebraist, interpreting GPT: the logit lens (2020).
"""

import torch
from torch import nn

from analysis.errors import UserError
from analysis.models.layout import Layout
from analysis.models.loaded import LoadedModel
from analysis.recording.activations import BlockStates

_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")


def logit_lens(
    model: LoadedModel, tokens: torch.Tensor, positions: torch.Tensor, layout: Layout | None
) -> torch.Tensor:
    """Return the probabilities (L, N, V) float32 of the token at each of `positions` (N,), read off the states behind
    each layer as they are off the last. tokens: (1, S).

    Raises UserError where that does not give the model's own prediction.
    """
    states: dict[int, torch.Tensor] = {}
    with BlockStates(model, lambda layer, output: states.__setitem__(layer, output)), torch.no_grad():
        logits = model.predict(tokens, layout=layout)
        # Aligned logits of a shifted family stand one position after the state that they were read from.
        at = (positions - model.architecture.shift).clamp(min=0)
        read = [_read(model, states[layer][at]) for layer in sorted(states)]
    prediction = logits[0, positions].float().softmax(dim=-1)
    if not torch.allclose(read[-1].to(prediction.device), prediction, atol=0.02):
        raise UserError(
            f"The states of this {model.architecture.name} model are not read by one norm and its head, so there is no "
            "logit lens of it."
        )
    return torch.stack([layer.cpu() for layer in read])


def _read(model: LoadedModel, states: torch.Tensor) -> torch.Tensor:
    """Return the probabilities (N, V) float32 that the head reads off states (N, hidden)."""
    base, head = model.network.base_model, model.network.get_output_embeddings()
    norm = next((getattr(base, name) for name in _NORMS if isinstance(getattr(base, name, None), nn.Module)), None)
    if norm is None or head is None:
        raise UserError(f"This {model.architecture.name} model has no last norm and head that a logit lens could use.")
    weight = head.get_parameter("weight")
    normed = norm(states.to(weight.device, weight.dtype))
    probabilities: torch.Tensor = head(normed).float().softmax(dim=-1)
    return probabilities
