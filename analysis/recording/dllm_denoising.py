"""The dLLM project's sampler of whole texts (`core/samplers/mdlm.py` there): LLaDA's rule with a different schedule.

In each step of a block it writes round(masks left / steps left) tokens, half to even; steps that write none are left
out. With a threshold (Fast-dLLM, arXiv 2505.22618) it writes every token that is sure enough. The last block may be
short. It never stops before the end of the text.
"""

import math
from collections.abc import Callable, Iterator

import torch

from analysis.recording.steps import (
    Choice,
    append_masks,
    best,
    guided,
    gumbel_argmax,
    precise_certainty,
    probability,
    sure_enough,
    writing_step,
)
from analysis.specs import DLLMSampling, linear_shares

Predict = Callable[[torch.Tensor, int], torch.Tensor]


def dllm_steps(
    predict: Predict, prompt: torch.Tensor, sampling: DLLMSampling, mask_token: int, generator: torch.Generator
) -> Iterator[Choice]:
    """Write `gen_length` tokens after prompt (B, P); [MASK] tokens inside the prompt are filled with the first block.

    Guidance masks the whole prompt, as in the dLLM project.
    """
    tokens = append_masks(prompt, sampling.gen_length, mask_token)
    given, blocks, end = tokens != mask_token, sampling.blocks(), prompt.shape[1]
    for number, length in enumerate(blocks, start=1):
        start, end = end, end + length
        for share in _shares(tokens[:, :end] == mask_token, sampling):
            open_ = tokens == mask_token
            open_[:, end:] = False
            if not open_.any():  # as where more was written than was shared out
                break
            logits = guided(predict, tokens, given, sampling.cfg, mask_token)
            predicted = gumbel_argmax(logits, sampling.temperature, generator)
            confidence = probability(logits, predicted)
            ranking = confidence
            if sampling.remasking == "random":
                ranking = torch.rand(tokens.shape, generator=generator, device=tokens.device)
            chosen = best(ranking.masked_fill(~open_, -math.inf), share)
            if sampling.threshold is not None:
                chosen = sure_enough(open_, precise_certainty(logits, predicted, open_), sampling.threshold)
            choice = writing_step(
                tokens, given, mask_token, chosen, predicted, confidence, (start, end), number, len(blocks)
            )
            yield choice
            tokens = choice.output


def _shares(open_: torch.Tensor, sampling: DLLMSampling) -> Iterator[torch.Tensor]:
    """Yield the number of tokens that each step writes per row, (B,), at least one with a threshold. open_: the tokens
    that are still [MASK], (B, S).
    """
    counts = [int(count) for count in open_.sum(dim=1)]
    steps = sampling.steps_per_block if sampling.threshold is None else max(counts)
    rows = [linear_shares(count, steps) for count in counts]
    for step in range(max(map(len, rows))):
        yield torch.tensor([row[step] if step < len(row) else 0 for row in rows], device=open_.device)
