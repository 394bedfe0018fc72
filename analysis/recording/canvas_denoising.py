"""Writing text canvas by canvas, as transformers' own `generate()` writes with DiffusionGemma: the same tokens at the
same seed.

A canvas begins as random tokens. Every step draws a token for each position, keeps those it is surest of, and draws the
rest at random again. What the canvas becomes are the likeliest tokens of its last step, kept or not. Then the encoder
reads them, and the next canvas begins. Shapes: B = 1 sequence, P tokens before the canvas, C of it, S = P + C.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch.nn.functional import pad

from analysis.attention import CanvasMassObserver
from analysis.errors import UserError
from analysis.models.canvas import CanvasCache, new_cache, read
from analysis.models.experts import RoutingObserver
from analysis.models.layout import Layout, layout_of
from analysis.models.loaded import LoadedModel
from analysis.recording.steps import Choice, Predict, Step, probability
from analysis.sinks.step_inputs import TokenState
from analysis.specs import DiffusionGemmaSampling


def canvas_steps(
    model: LoadedModel, prompt: torch.Tensor, sampling: DiffusionGemmaSampling, seed: int
) -> Iterator[Step]:
    """Continue `prompt` (1, P), observing the decoder in every step. Raises UserError for more than one sequence."""
    cache, observer = CanvasCache(model), CanvasMassObserver()

    def predict(
        tokens: torch.Tensor, observed: int, layout: Layout, first: int, *, believed: torch.Tensor | None, **named: Any
    ) -> torch.Tensor:
        return cache.predict(tokens, first, believed, observer)

    generator = torch.Generator(device=model.device).manual_seed(seed)
    with RoutingObserver(model.blocks) as routes:
        for choice in canvas_choices(model, predict, prompt, sampling, generator):
            yield Step(choice, observer.take(choice.tokens.shape[1]), None, routes.take(1, 1))


def reading_steps(
    model: LoadedModel, prompt: torch.Tensor, sampling: DiffusionGemmaSampling, seed: int
) -> Iterator[Step]:
    """The encoder's causal passes while `prompt` (1, P) is continued: over the prompt, and over each canvas but the
    last, which nothing reads. Its queries are the tokens that it newly reads.
    """
    given, device = prompt.shape[1], model.device
    text = prompt.to(device)
    for step in canvas_steps(model, prompt, sampling, seed):
        text = step.choice.output
    borders = [0, *range(given, text.shape[1], sampling.block)]
    layers = model.network.model.encoder.language_model.layers
    cache, observer = new_cache(model.network), CanvasMassObserver()
    with RoutingObserver(layers) as routes:
        for number, (start, end) in enumerate(pairwise(borders), start=1):
            read(model.network, text[:, start:end], cache, start, observer)
            tokens = text[:, :end]
            state = torch.full((1, end), int(TokenState.COMMITTED), dtype=torch.int8, device=device)
            state[:, :given] = int(TokenState.GIVEN)
            nothing = torch.zeros_like(tokens, dtype=torch.bool)
            unsaid = torch.full(tokens.shape, math.nan, device=device)
            span, count = (start, end), len(borders) - 1
            choice = Choice(tokens, state, nothing, unsaid, tokens, span, number, count, span)
            yield Step(choice, observer.take(end), None, routes.take(1, 1))


def canvas_choices(
    model: LoadedModel,
    predict: Predict,
    prompt: torch.Tensor,
    sampling: DiffusionGemmaSampling,
    generator: torch.Generator,
) -> Iterator[Choice]:
    """The steps of the sampler after `prompt` (1, P). Raises UserError for more than one sequence."""
    if len(prompt) != 1:
        raise UserError(f"{model.architecture.name} writes one text at a time here; {len(prompt)} were given.")
    device, length = model.device, sampling.block
    ends, padding = end_tokens(model), _configured(model, "pad_token_id")
    blocks = math.ceil(sampling.gen_length / length)

    def noise() -> torch.Tensor:
        return torch.randint(0, model.geometry.vocabulary, (1, length), generator=generator, device=device)

    text = prompt.to(device)
    given = prompt.shape[1]
    for number in range(1, blocks + 1):
        start = text.shape[1]
        layout = replace(layout_of(model.architecture, given, length), open_from=start)
        canvas, kept = noise(), torch.zeros(1, length, dtype=torch.bool, device=device)
        believed: torch.Tensor | None = None
        likeliest_before: list[torch.Tensor] = []
        for left in range(sampling.steps_per_canvas, 0, -1):
            tokens, state = torch.cat([text, canvas], dim=1), _states(start, given, kept)
            logits = predict(tokens, 1, layout, start, believed=believed, state=state)
            tempered = logits / _temperature(sampling, left, device)
            logs = tempered - tempered.logsumexp(dim=-1, keepdim=True)
            entropy = -(logs.exp() * logs).sum(dim=-1)
            drawn = torch.multinomial(tempered.softmax(dim=-1, dtype=torch.float32)[0], 1, generator=generator).T
            accepted = accepted_by_entropy(entropy, sampling.entropy_bound)
            # Drawn even in the last step, where it goes unused: the next canvas's random numbers come after it.
            output = torch.where(accepted, drawn, noise())
            likeliest = tempered.argmax(dim=-1)
            recent = likeliest_before[len(likeliest_before) - sampling.stable_steps :]
            stable = len(likeliest_before) >= sampling.stable_steps and all(
                torch.equal(before, likeliest) for before in recent
            )
            last = left == 1 or (stable and bool(entropy.mean() < sampling.sure_entropy))
            likeliest_before.append(likeliest)
            if last:
                after, chosen, written = finished(likeliest, ends, padding), torch.ones_like(accepted), likeliest
            else:
                after, chosen, written = output, accepted, drawn
            sure, span = probability(logits, written).masked_fill(~chosen, math.nan), (start, start + length)
            yield Choice(
                tokens,
                state,
                pad(chosen, (start, 0)),
                pad(sure, (start, 0), value=math.nan),
                torch.cat([text, after], dim=1),
                span,
                number,
                blocks,
                span,
            )
            if last:
                break
            canvas, kept = output, accepted
            # Rounded to the embedding's precision, as what the network feeds back to itself is.
            believed = tempered.to(model.network.get_input_embeddings().get_parameter("weight").dtype)
        text = torch.cat([text, likeliest], dim=1)
        if torch.isin(likeliest, ends).any():
            return


def accepted_by_entropy(entropy: torch.Tensor, bound: float) -> torch.Tensor:
    """The surest positions whose entropies (B, C), the largest left out, sum to at most the bound: at least one."""
    order = entropy.argsort(dim=-1)
    ranked = entropy.gather(-1, order)
    return torch.zeros_like(entropy, dtype=torch.bool).scatter(-1, order, ranked.cumsum(dim=-1) - ranked <= bound)


def finished(canvas: torch.Tensor, ends: torch.Tensor, padding: int | None) -> torch.Tensor:
    """A canvas (B, C) with padding in place of everything after its first end."""
    if padding is None:
        return canvas
    past = torch.isin(canvas, ends).long().cumsum(dim=-1)
    after_first = pad(past, (1, 0))[..., :-1] > 0
    return canvas.masked_fill(after_first, padding)


def text_length(tokens: torch.Tensor, ends: torch.Tensor) -> int:
    """Count the tokens (N,) up to the first end, that one included: what follows it is padding."""
    found = torch.isin(tokens, ends).nonzero()
    return int(found[0]) + 1 if len(found) else len(tokens)


def end_tokens(model: LoadedModel) -> torch.Tensor:
    """The tokens that end a text, (n,): those of the generation config, else of the config."""
    value = _configured(model, "eos_token_id")
    ends = value if isinstance(value, list) else [] if value is None else [value]
    return torch.tensor(ends, dtype=torch.long, device=model.device)


def _configured(model: LoadedModel, name: str) -> Any:
    """A field of the generation config, else of the config; None where neither has it."""
    config = model.network.config
    configs = (model.network.generation_config, config, config.get_text_config())
    return next((value for each in configs if (value := getattr(each, name, None)) is not None), None)


def _temperature(sampling: DiffusionGemmaSampling, left: int, device: torch.device) -> torch.Tensor:
    # In float32 as a tensor: a Python float would round differently in the last bit.
    share = torch.tensor(left, dtype=torch.int32, device=device) / sampling.steps_per_canvas
    return sampling.temperature_end + (sampling.temperature_start - sampling.temperature_end) * share


def _states(start: int, given: int, kept: torch.Tensor) -> torch.Tensor:
    """Return the state of each input token, (1, S) int8. kept (1, C): canvas tokens that the step before accepted."""
    before = torch.full((1, start), int(TokenState.COMMITTED), device=kept.device)
    before[:, :given] = int(TokenState.GIVEN)
    canvas = torch.where(kept, int(TokenState.ACCEPTED), int(TokenState.UNDECIDED))
    return torch.cat([before, canvas], dim=1).to(torch.int8)
