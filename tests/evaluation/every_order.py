"""A scorer for lm-eval that shares no code with ours: answers by every order of uncovering them, from raw logits."""

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from transformers import PreTrainedModel, PreTrainedTokenizerBase


class EveryOrder(LM):
    """Log-likelihoods by the chain rule, averaged over all L! orders in which an answer's tokens can be uncovered.

    The mean over orders is the bound of LLaDA (arXiv 2502.09992, equation 14) written another way (Uria et al.,
    arXiv 1310.1757). mask: the mask token, None for an autoregressive model, whose one order is from left to right.
    shift: 1 where the logits at i − 1 are about the token at i.
    """

    def __init__(
        self, network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, mask: int | None, shift: int
    ) -> None:
        super().__init__()
        self.network, self.tokenizer, self.mask, self.shift = network, tokenizer, mask, shift

    def loglikelihood(self, requests: Sequence[Instance], **options: Any) -> list[tuple[float, bool]]:
        return [(self._of(*request.args), False) for request in requests]

    def loglikelihood_rolling(self, requests: Sequence[Instance], **options: Any) -> list[float]:
        raise NotImplementedError

    def generate_until(self, requests: Sequence[Instance], **options: Any) -> list[str]:
        raise NotImplementedError

    def _of(self, context: str, answer: str) -> float:
        """Context and answer are encoded together; the answer is what comes after the tokens of the context alone."""
        before = self.tokenizer(context)["input_ids"]
        whole = self.tokenizer(context + answer)["input_ids"]
        answer_tokens = whole[len(before) :]
        places = range(len(answer_tokens))
        orders = [tuple(places)] if self.mask is None else list(permutations(places))
        known: dict[tuple[int, frozenset[int]], float] = {}
        total = 0.0
        for order in orders:
            for done, place in enumerate(order):
                seen = frozenset(order[:done])
                if (place, seen) not in known:
                    known[place, seen] = self._log_probability(before, answer_tokens, place, seen)
                total += known[place, seen] / len(orders)
        return total

    @torch.no_grad()
    def _log_probability(self, before: list[int], answer: list[int], place: int, seen: frozenset[int]) -> float:
        """log p of the token at `place` where those at `seen` are uncovered."""
        if self.mask is None:
            shown = answer[:place]
        else:
            shown = [token if at in seen else self.mask for at, token in enumerate(answer)]
        logits = self.network(input_ids=torch.tensor([before + shown]), use_cache=False).logits[0].double()
        return float(logits[len(before) + place - self.shift].log_softmax(-1)[answer[place]])
