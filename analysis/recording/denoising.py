"""Writing text step by step: LLaDA's and Dream's samplers and plain autoregressive decoding, as generators of steps.

A sampler is one row of `SAMPLERS`; those that write block by block are in `block_denoising.py`. Each works on a batch
of sequences of equal length and yields after every forward.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from pydantic import ValidationError

from analysis.attention import Edit, MassObserver, Observed
from analysis.errors import UserError
from analysis.models.experts import Routing, RoutingObserver
from analysis.models.layout import Layout
from analysis.models.loaded import LoadedModel, OpenedModel
from analysis.models.prefix import PrefixCache
from analysis.recording.block_denoising import BLOCK_SAMPLERS, Frame
from analysis.recording.branch_writing import write_branch
from analysis.recording.branching import why_no_branch
from analysis.recording.canvas_denoising import canvas_steps, reading_steps
from analysis.recording.first_hitting import first_hitting_steps
from analysis.recording.mdlm_denoising import mdlm_steps
from analysis.recording.steps import Choice, Step, best, draw, gumbel_argmax, probability, written_once
from analysis.specs import (
    AutoregressiveSampling,
    BlockWriting,
    Branch,
    DiffusionGemmaSampling,
    DreamSampling,
    LLaDASampling,
    Sampling,
    sentence,
)

# (B, S) token ids, and how many of the sequences to observe -> logits (B, S, V)
Predict = Callable[[torch.Tensor, int], torch.Tensor]


@dataclass(frozen=True)
class Forward:
    """One forward of a sampler: its input tokens (B, S), logits (B, S, V) and the blocks of its text, if it has some;
    what attention did in the first B' rows, those that are observed.
    """

    tokens: torch.Tensor
    logits: torch.Tensor
    observed: Observed
    layout: Layout | None


Again = Callable[[Edit], torch.Tensor]
"""Runs the same forward once more with an edit: its logits (B, S, V)."""
Rerun = Callable[[Forward, Again], torch.Tensor]
"""What a sampler predicts with in place of a forward's own logits."""


def denoise(
    model: LoadedModel,
    prompt: torch.Tensor,
    sampling: Sampling,
    seed: int,
    rerun: Rerun | None = None,
    branch: Branch | None = None,
) -> Iterator[Step]:
    """Continues `prompt` (B, P) token ids, observing the attention mass of every forward.

    A step that would decide nothing is left out: its forward would repeat the one before. With `rerun`, the sampler
    goes on with what it returns; what is observed is the untouched forward. With `branch`, its step writes its token,
    and the sampler goes on from there. Raises UserError when the sampler is not the model's own, the text would be
    longer than the model takes, its numbers are not finite, or the branch does not leave this text.
    """
    sampling = own_sampling(model, sampling)
    check_prompt(model, prompt, sampling)
    if isinstance(sampling, DiffusionGemmaSampling):
        if rerun is not None:
            raise UserError(model.architecture.why_no_ablation)
        if branch is not None:
            raise UserError(why_no_branch(model.architecture.name, model.architecture.noise))
        yield from canvas_steps(model, prompt, sampling, seed)
        return
    with RoutingObserver(model.blocks) as routes:
        yield from _observed_steps(model, prompt, sampling, seed, rerun, branch, routes)


def _observed_steps(
    model: LoadedModel,
    prompt: torch.Tensor,
    sampling: Sampling,
    seed: int,
    rerun: Rerun | None,
    branch: Branch | None,
    routes: RoutingObserver,
) -> Iterator[Step]:
    observer = MassObserver()
    shown: list[tuple[Observed, Routing | None]] = []
    # What is acted on changes the states of the finished text as well, so an ablation runs all of it.
    if rerun is not None and getattr(sampling, "cached", False):
        sampling = sampling.model_copy(update={"cached": False})
    prefix = PrefixCache(model) if getattr(sampling, "cached", False) else None

    def predict(
        tokens: torch.Tensor, observed: int, layout: Layout | None = None, first: int = 0, aligned: bool = True
    ) -> torch.Tensor:
        observer.rows = observed
        if prefix is not None and layout is not None:
            logits = prefix.predict(tokens, first, layout, observer, aligned)
            shown[:] = [(observer.take(), None)]
            return logits
        again = partial(model.predict, tokens, layout=layout, aligned=aligned)
        logits = again(observer)
        shown[:] = [(observer.take(), routes.take(observed, len(tokens)))]
        if rerun is None:
            return logits
        return rerun(Forward(tokens, logits, shown[0][0], layout), lambda edit: again(edit=edit))

    prompt = prompt.to(model.device)
    generator = torch.Generator(device=model.device).manual_seed(seed)
    ends = torch.tensor(sorted(stop_tokens(model)), dtype=torch.long, device=model.device)
    count = 0
    for count, choice in enumerate(choices(model, predict, prompt, sampling, generator, ends), start=1):
        if branch is not None and branch.step == count - 1:
            write_branch(branch, choice, model)
        yield Step(choice, *shown[0][0], shown[0][1])
        if model.architecture.noise is None and torch.isin(choice.output[:, -1], ends).all():
            break
    if branch is not None and branch.step >= count:
        raise UserError(f"There is no step {branch.step} to branch from: this text is finished after {count} steps.")


def read_steps(model: LoadedModel, prompt: torch.Tensor, sampling: Sampling, seed: int) -> Iterator[Step]:
    """What the encoder does while the model continues `prompt` (1, P). Raises UserError for a model that has none."""
    sampling = own_sampling(model, sampling)
    check_prompt(model, prompt, sampling)
    if not isinstance(sampling, DiffusionGemmaSampling):
        raise UserError(
            f"{model.architecture.name} has no encoder that reads apart from what writes. Observe the writer."
        )
    yield from reading_steps(model, prompt, sampling, seed)


def own_sampling(model: OpenedModel, sampling: Sampling) -> Sampling:
    """The parameters with what only the model knows: the length of the blocks it was trained on.

    Raises UserError for those of another model's sampler, and where the model's blocks do not fit them.
    """
    sampler = model.architecture.sampler
    if sampling.sampler != sampler:
        raise UserError(f"{model.architecture.name} is sampled with '{sampler}', not '{sampling.sampler}'.")
    if model.architecture.mixture and getattr(sampling, "cached", False):
        raise UserError(
            f"Cached decoding is not offered for {model.architecture.name}: where every token was sent is recorded, "
            "which takes whole forwards. Leave it off."
        )
    if not isinstance(sampling, BlockWriting):
        return sampling
    try:
        return type(sampling).model_validate(sampling.in_blocks_of(model.architecture.block_size).model_dump())
    except ValidationError as error:
        raise UserError(f"{sentence(error)} The block length is the model's own.") from error


def check_prompt(model: OpenedModel, prompt: torch.Tensor, sampling: Sampling) -> None:
    """Raises UserError for a prompt (B, P) that the sampler cannot go on from."""
    given, length = prompt.shape[1], sampling.length(prompt.shape[1])
    if length > model.geometry.max_length:
        raise UserError(
            f"Prompt ({given} tokens) and new tokens ({length - given}) make {length} tokens; this model takes "
            f"{model.geometry.max_length}. Shorten one of them."
        )
    if given == 0 and model.architecture.noise == "uniform":
        raise UserError(f"The encoder of {model.architecture.name} needs at least one prompt token to read.")
    if given == 0 and model.architecture.opens_causally:
        raise UserError(
            f"{model.architecture.name} writes the likeliest token after the text so far, so it needs at least one "
            "prompt token to start from."
        )
    if model.mask_token is not None and model.architecture.by_blocks and model.mask_token in prompt.flatten().tolist():
        raise UserError(f"The prompt holds [MASK], which {model.architecture.name} fills in no prompt. Remove it.")


def choices(
    model: LoadedModel,
    predict: Callable[..., torch.Tensor],
    prompt: torch.Tensor,
    sampling: Sampling,
    generator: torch.Generator,
    ends: torch.Tensor,
) -> Iterator[Choice]:
    """The steps of the model's own sampler after `prompt` (B, P), with parameters of `own_sampling`.

    predict: as `Predict`, and as `BlockPredict` for families that write by blocks, which stop after the block in which
    every text has one of `ends` (n,).
    """
    sampler = SAMPLERS[model.architecture.sampler]
    if not model.architecture.by_blocks:
        return sampler(predict, prompt, sampling, model.mask_token, generator)
    assert model.mask_token is not None
    return sampler(predict, prompt, sampling, Frame(model.architecture, model.mask_token, generator, ends))


# --- LLaDA ------------------------------------------------------------------------------------------------------


def llada_steps(
    predict: Predict, prompt: torch.Tensor, sampling: LLaDASampling, mask_token: int, generator: torch.Generator
) -> Iterator[Choice]:
    """LLaDA's semi-autoregressive remasking (arXiv 2502.09992).

    [MASK] tokens inside the prompt are filled too, with the first block.
    """
    tokens = _append_masks(prompt, sampling.gen_length, mask_token)
    given = tokens != mask_token
    block = sampling.block_length or sampling.gen_length
    blocks = sampling.gen_length // block
    for number, end in enumerate(range(prompt.shape[1] + block, tokens.shape[1] + 1, block), start=1):
        count = (tokens[:, :end] == mask_token).sum(dim=1)
        steps = sampling.steps // blocks
        for step in range(min(steps, int(count.max()))):
            open_ = tokens == mask_token
            open_[:, end:] = False
            if not open_.any():  # as where more was written than was shared out
                break
            logits = _guided(predict, tokens, given, sampling.cfg, mask_token)
            predicted = gumbel_argmax(logits, sampling.temperature, generator)
            confidence = probability(logits, predicted)
            ranking = (
                torch.rand(tokens.shape, generator=generator, device=tokens.device)
                if sampling.remasking == "random"
                else confidence
            )
            # Shared equally; where that does not divide, the first steps take one more.
            share = count // steps + (step < count % steps)
            chosen = best(ranking.masked_fill(~open_, -math.inf), share)
            output = torch.where(chosen, predicted, tokens)
            yield Choice(
                tokens,
                written_once(tokens, given, mask_token),
                chosen,
                confidence.masked_fill(~chosen, math.nan),
                output,
                (end - block, end),
                number,
                blocks,
            )
            tokens = output


def _guided(predict: Predict, tokens: torch.Tensor, given: torch.Tensor, scale: float, mask_token: int) -> torch.Tensor:
    if scale == 0:
        return predict(tokens, len(tokens))
    unconditional = tokens.masked_fill(given, mask_token)
    with_prompt, without = predict(torch.cat([tokens, unconditional]), len(tokens)).chunk(2)
    return without + (scale + 1) * (with_prompt - without)


# --- Dream ------------------------------------------------------------------------------------------------------


def dream_steps(
    predict: Predict, prompt: torch.Tensor, sampling: DreamSampling, mask_token: int, generator: torch.Generator
) -> Iterator[Choice]:
    """Dream's schedule-driven sampler (arXiv 2508.15487): noise level t falls linearly from 1 to eps.

    Where few tokens are left for many steps, the schedule gives some steps no token at all; they are left out.
    """
    tokens = _append_masks(prompt, sampling.gen_length, mask_token)
    given = tokens != mask_token
    levels = torch.linspace(1, sampling.eps, sampling.steps + 1)
    for step in range(sampling.steps):
        masked = tokens == mask_token
        last = step == sampling.steps - 1
        share = 1.0 if last else float(1 - levels[step + 1] / levels[step])
        if sampling.alg == "origin":
            chosen = masked & (torch.rand(tokens.shape, generator=generator, device=tokens.device) < share)
            counts = chosen.sum(dim=1)
        else:
            counts = (masked.sum(dim=1).float() * share).long()
        if not counts.any():
            continue
        logits = predict(tokens, len(tokens))
        predicted, probabilities = draw(logits, sampling.temperature, sampling.top_p, sampling.top_k, generator)
        if sampling.alg != "origin":
            certainty = _CERTAINTY[sampling.alg](probabilities, predicted).masked_fill(~masked, -math.inf)
            chosen = _keep(certainty, counts, sampling.alg_temp, generator)
        output = torch.where(chosen, predicted, tokens)
        confidence = probability(logits, predicted).masked_fill(~chosen, math.nan)
        state = written_once(tokens, given, mask_token)
        yield Choice(tokens, state, chosen, confidence, output, (prompt.shape[1], tokens.shape[1]))
        tokens = output


def _keep(
    certainty: torch.Tensor, counts: torch.Tensor, temperature: float, generator: torch.Generator
) -> torch.Tensor:
    """The `counts` most certain positions, or as many drawn by softmax(certainty / temperature)."""
    if temperature == 0:
        return best(certainty, counts)
    # Gumbel top-k draws without replacement with exactly these probabilities.
    uniform = torch.rand(certainty.shape, generator=generator, device=certainty.device)
    return best(certainty / temperature - torch.log(-torch.log(uniform)), counts)


def _margin(probabilities: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
    first, second = probabilities.topk(2, dim=-1).values.unbind(-1)
    return first - second


def _negative_entropy(probabilities: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
    return (probabilities * torch.log(probabilities + 1e-10)).sum(dim=-1)


def _chosen_probability(probabilities: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
    return probabilities.gather(-1, predicted[..., None])[..., 0]


_CERTAINTY: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "maskgit_plus": _chosen_probability,
    "topk_margin": _margin,
    "entropy": _negative_entropy,
}


# --- autoregressive ---------------------------------------------------------------------------------------------


def autoregressive_steps(
    predict: Predict,
    prompt: torch.Tensor,
    sampling: AutoregressiveSampling,
    mask_token: int | None,
    generator: torch.Generator,
) -> Iterator[Choice]:
    """One token a step at the end of the text. The forward is whole every time, so that every query is observed."""
    tokens = prompt
    for _ in range(sampling.gen_length):
        logits = predict(tokens, len(tokens))[:, -1:]
        predicted, _ = draw(logits, sampling.temperature, sampling.top_p, sampling.top_k, generator)
        output = torch.cat([tokens, predicted], dim=1)
        chosen = torch.zeros_like(output, dtype=torch.bool)
        chosen[:, -1] = True
        confidence = torch.full(output.shape, math.nan, device=tokens.device)
        confidence[:, -1:] = probability(logits, predicted)
        length = tokens.shape[1]
        given = torch.arange(length, device=tokens.device).expand_as(tokens) < prompt.shape[1]
        yield Choice(tokens, written_once(tokens, given, None), chosen, confidence, output, (length, length + 1))
        tokens = output


SAMPLERS: dict[str, Callable[..., Iterator[Choice]]] = {
    "llada": llada_steps,
    "dream": dream_steps,
    "mdlm": mdlm_steps,
    "autoregressive": autoregressive_steps,
    **BLOCK_SAMPLERS,
    "first-hitting": first_hitting_steps,
}


# --- shared -----------------------------------------------------------------------------------------------------


def _append_masks(prompt: torch.Tensor, count: int, mask_token: int) -> torch.Tensor:
    masks = torch.full((prompt.shape[0], count), mask_token, dtype=prompt.dtype, device=prompt.device)
    return torch.cat([prompt, masks], dim=1)


# How chat templates close a turn, which is not always the end-of-text token.
_TURN_ENDS = ("<|eot_id|>", "<|im_end|>", "<|end_of_turn|>", "<end_of_turn>", "<|endoftext|>")


def stop_tokens(model: LoadedModel) -> set[int]:
    """Ids that end a text or a turn, at which autoregressive decoding ends."""
    sources: tuple[Any, ...] = (model.network.generation_config, model.network.config, model.tokenizer)
    ids: set[int] = set()
    for source in sources:
        value = getattr(source, "eos_token_id", None)
        ids.update(value if isinstance(value, list) else [] if value is None else [value])
    if model.tokenizer is not None:
        vocabulary = model.tokenizer.get_vocab()
        ids.update(vocabulary[name] for name in _TURN_ENDS if name in vocabulary)
    return ids
