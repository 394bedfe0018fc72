"""Add a sampler: one spec in `SAMPLINGS` (and in `Sampling`), one generator of steps in `SAMPLERS`.

An architecture names the sampler of its models.
"""

from collections.abc import Iterator

import torch

from analysis.models.load import load
from analysis.recording.denoising import SAMPLERS, Choice, Predict, written_once
from analysis.specs import LLaDASampling, ModelSpec


def leftmost_steps(
    predict: Predict, prompt: torch.Tensor, sampling: LLaDASampling, mask_token: int, generator: torch.Generator
) -> Iterator[Choice]:
    """Decide one token per step, from left to right, the most probable one."""
    masks = torch.full((len(prompt), sampling.gen_length), mask_token)
    tokens = torch.cat([prompt, masks], dim=1)
    given, open_block = tokens != mask_token, (prompt.shape[1], tokens.shape[1])
    for position in range(prompt.shape[1], tokens.shape[1]):
        probabilities = predict(tokens, len(tokens))[:, position].softmax(-1)
        best = probabilities.max(dim=-1)
        output, chosen = tokens.clone(), torch.zeros_like(tokens, dtype=torch.bool)
        output[:, position], chosen[:, position] = best.indices, True
        confidence = torch.full(tokens.shape, float("nan"))
        confidence[:, position] = best.values
        yield Choice(tokens, written_once(tokens, given, mask_token), chosen, confidence, output, open_block)
        tokens = output


SAMPLERS["leftmost"] = leftmost_steps

model = load(ModelSpec(device="cpu"))
assert model.mask_token is not None
prompt = torch.tensor([model.encode("mia has a dog .", "off")[0]])
generator = torch.Generator().manual_seed(0)
*_, last = leftmost_steps(
    lambda tokens, observed: model.predict(tokens),
    prompt,
    LLaDASampling(gen_length=4, steps=4),
    model.mask_token,
    generator,
)
assert not (last.output == torch.tensor(model.mask_token)).any()
