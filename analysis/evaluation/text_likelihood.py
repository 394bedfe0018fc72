"""The likelihood of whole texts under one model, by which texts written under several conditions are compared."""

from collections.abc import Sequence
from typing import NamedTuple

from analysis.evaluation.likelihood import OnForward, Request, log_likelihoods
from analysis.models.loaded import LoadedModel
from analysis.recording.denoising import stop_tokens
from analysis.specs import TEXT_DRAWS


class TextScore(NamedTuple):
    """A text up to where it ends. nll: its negative log-likelihood in nats per token. tokens: how many it has.
    repeated: the share of them that equal the one before.
    """

    nll: float
    tokens: int
    repeated: float


def text_scores(
    model: LoadedModel,
    context: Sequence[int],
    texts: Sequence[Sequence[int]],
    seed: int = 0,
    on_forward: OnForward = lambda: None,
) -> list[TextScore]:
    """Score each text after the context up to its first stop token: exactly for an autoregressive model, else by the
    bound of `log_likelihoods`. Texts that are as long see the same masks.

    Raises UserError where a model gives no likelihood, and for a text without tokens.
    """
    ends = stop_tokens(model)
    read = [text[: next((at + 1 for at, token in enumerate(text) if token in ends), len(text))] for text in texts]
    requests = [Request(tuple(context), tuple(text), "text") for text in read]
    found = log_likelihoods(model, requests, TEXT_DRAWS, seed, on_forward=on_forward)
    return [
        TextScore(-one.value / one.tokens, len(text), sum(map(int.__eq__, text, text[1:])) / len(text))
        for one, text in zip(found, read, strict=True)
    ]
