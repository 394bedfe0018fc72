"""Writing text step by step: LLaDA's sampler and plain autoregressive decoding, as generators of steps.

A sampler is one row of `SAMPLERS`; Dream's is in `dream_denoising.py`, those that write block by block are in
`block_denoising.py`. Each works on a batch of sequences of equal length and yields after every forward.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from pydantic import ValidationError

from analysis.attention import Edit, MassObserver, Observed, Observer, together
from analysis.errors import UserError
from analysis.models.experts import Routing, RoutingObserver
from analysis.models.kept_keys import GrowingText, KeptKeys, PrefixCache, can_grow
from analysis.models.layout import Layout, Span
from analysis.models.loaded import LoadedModel, OpenedModel
from analysis.recording.block_denoising import BLOCK_SAMPLERS, Frame
from analysis.recording.canvas_denoising import canvas_choices, canvas_steps, reading_steps
from analysis.recording.dream_denoising import dream_steps
from analysis.recording.mdlm_denoising import first_hitting_steps, mdlm_steps
from analysis.recording.steps import (
    Choice,
    MaskedText,
    Predict,
    Step,
    appended,
    best,
    cached_queries,
    draw,
    guided,
    gumbel_argmax,
    precise_certainty,
    probability,
    query_groups,
    sure_enough,
    surest_by_factor,
    written_once,
)
from analysis.recording.trajectory import why_no_branch
from analysis.sinks.step_inputs import TokenState
from analysis.specs import (
    AutoregressiveSampling,
    BlockWriting,
    Branch,
    DiffusionGemmaSampling,
    DLLMSampling,
    LLaDASampling,
    Sampling,
    linear_shares,
    sentence,
)


@dataclass(frozen=True)
class Forward:
    """One forward of a sampler: its input tokens (B, S), logits (B, Q, V) of its queries, the first and one past the
    last, or (B, 1, V) of the last alone where a text grows, and the blocks of its text, if it has some; what attention
    did in the first B' rows, those that are observed.
    """

    tokens: torch.Tensor
    logits: torch.Tensor
    observed: Observed
    layout: Layout | None
    queries: Span


Again = Callable[[Edit], torch.Tensor]
"""Function that repeats the same forward with an edit: its logits (B, S, V)."""
Rerun = Callable[[Forward, Again], torch.Tensor]
"""Function whose logits a sampler uses in place of a forward's own."""


def denoise(
    model: LoadedModel,
    prompt: torch.Tensor,
    sampling: Sampling,
    seed: int,
    rerun: Rerun | None = None,
    branch: Branch | None = None,
    by_query: bool = False,
    watching: Observer | None = None,
    growing: bool = False,
) -> Iterator[Step]:
    """Continue `prompt` (B, P) token ids, observing the attention mass of every forward.

    A step that would decide nothing is left out, as its forward would repeat the one before. rerun: the sampler goes on
    with the logits it returns; the forward observed is the untouched one. branch: its step writes its token, and the
    sampler goes on from there. by_query: separates the mass paid by undecided and by given queries. watching:
    also sees the attention of every forward, except that of a canvas. growing: run only the new token of each step
    where the model is causal, and record no routing; mass and logits then differ from a whole forward's by rounding.
    Raises UserError when the sampler is not the model's own, the text would be longer than the model takes, its numbers
    are not finite, or the branch does not leave this text.
    """
    sampling = own_sampling(model, sampling, prompt.tolist())
    if isinstance(sampling, DiffusionGemmaSampling):
        if rerun is not None:
            raise UserError(model.architecture.why_no_ablation)
        if branch is not None:
            raise UserError(why_no_branch(model.architecture.name, model.architecture.noise))
        yield from canvas_steps(model, prompt, sampling, seed)
        return
    grown = GrowingText(model) if growing and not by_query and watching is None and can_grow(model) else None
    observer = MassObserver()
    observe = observer if watching is None else together(observer, watching)
    shown: list[tuple[Observed, Routing | None]] = []
    by_blocks = isinstance(sampling, BlockWriting)
    # An ablation changes the states of the finished text as well, so it runs all of it.
    if rerun is not None and by_blocks and sampling.keeps_keys:
        sampling = sampling.model_copy(update={"cached": False})
    prefix = PrefixCache(model) if by_blocks and sampling.keeps_keys else None
    kept = KeptKeys(model)

    def predict(
        tokens: torch.Tensor,
        observed: int,
        layout: Layout | None = None,
        first: int = 0,
        aligned: bool = True,
        queries: Span | None = None,
    ) -> torch.Tensor:
        observer.rows = observed
        if by_query:
            asking = slice(first if prefix is not None and layout is not None else 0, None)
            groups = query_groups(tokens[:observed], prompt, model.mask_token)
            observer.groups = groups[..., asking if queries is None else slice(*queries)]
        if prefix is not None and layout is not None:
            logits = prefix.predict(tokens, first, layout, observe, aligned)
            shown[:] = [(observer.take(), None)]
            return logits
        again: Callable[..., torch.Tensor] = (
            partial(model.predict, tokens, layout=layout, aligned=aligned, keep=None if grown is None else 1)
            if queries is None
            else partial(kept.predict, tokens, queries)
        )
        if grown is not None:
            logits, seen = grown.predict(tokens)
            shown[:] = [(seen, None)]
        else:
            logits = again(observer=observe)
            shown[:] = [(observer.take(), routes.take(observed, len(tokens)))]
        if rerun is None:
            return logits
        forward = Forward(tokens, logits, shown[0][0], layout, queries or (0, tokens.shape[1]))
        return rerun(forward, lambda edit: again(edit=edit))

    prompt = prompt.to(model.device)
    ends = end_ids(model)
    count, ended = 0, torch.zeros(len(prompt), dtype=torch.bool, device=model.device)
    with RoutingObserver(model.blocks) as routes:
        for count, choice in enumerate(choices(model, predict, prompt, sampling, seed, ends), start=1):
            if branch is not None and branch.step == count - 1:
                write_branch(branch, choice, model)
            seen, routing = shown[0]
            yield Step(choice, seen.mass, seen.value_norm, routing, paid=seen.paid)
            ended |= torch.isin(choice.output[:, -1], ends)
            if model.architecture.noise is None and ended.all():
                break
    if branch is not None and branch.step >= count:
        raise UserError(f"There is no step {branch.step} to branch from: this text is finished after {count} steps.")


def write_branch(branch: Branch, choice: Choice, model: LoadedModel) -> None:
    """Write the branch's token into its step's choice, in place. A token that the step chose anyway changes nothing.

    Raises UserError where the step's input is not the recorded one, or its position or token cannot be written.
    """
    position, length = branch.position, choice.tokens.shape[1]
    if choice.tokens[0].tolist() != list(branch.tokens):
        raise UserError(
            f"The text before step {branch.step} is not the recorded one: another device, precision or version may "
            "round otherwise. Record the prompt again, and branch from that recording."
        )
    if branch.token >= model.geometry.vocabulary or branch.token == model.mask_token:
        raise UserError(f"Token {branch.token} cannot be written. Choose another one of the model's vocabulary.")
    after = length <= position < choice.output.shape[1]
    free = choice.chosen[:, :length] | (choice.state == TokenState.UNDECIDED)
    if not after and not (position < length and free[0, position]):
        raise UserError(f"Position {position} is not open in step {branch.step}. Choose one that this step may write.")
    if choice.chosen[0, position] and choice.output[0, position] == branch.token:
        return
    choice.output[0, position] = branch.token
    choice.chosen[0, position] = True
    choice.confidence[0, position] = math.nan  # the model did not choose it


def read_steps(model: LoadedModel, prompt: torch.Tensor, sampling: Sampling, seed: int) -> Iterator[Step]:
    """Observe the encoder while the model continues `prompt` (1, P). Raises UserError for a model without one."""
    sampling = own_sampling(model, sampling, prompt.tolist())
    if not isinstance(sampling, DiffusionGemmaSampling):
        raise UserError(
            f"{model.architecture.name} has no encoder that reads apart from what writes. Observe the writer."
        )
    yield from reading_steps(model, prompt, sampling, seed)


def own_sampling(model: OpenedModel, sampling: Sampling, prompts: Iterable[Sequence[int]] = ()) -> Sampling:
    """The parameters with what only the model knows: the length of the blocks it was trained on.

    Raises UserError for those of another model's sampler, where the model's blocks do not fit them, and for a prompt
    (token ids) that the sampler cannot continue.
    """
    sampler = model.architecture.sampler
    if sampling.sampler != sampler:
        raise UserError(f"{model.architecture.name} is sampled with '{sampler}', not '{sampling.sampler}'.")
    if sampling.keeps_keys and (problem := model.architecture.why_no_cache):
        raise UserError(problem)
    if isinstance(sampling, BlockWriting):
        fields = sampling.in_blocks_of(model.architecture.block_size).model_dump()
        try:
            sampling = type(sampling).model_validate(fields)
        except ValidationError as error:
            raise UserError(f"{sentence(error)} The block length is the model's own.") from error
    for prompt in prompts:
        _check_prompt(model, prompt, sampling)
    return sampling


def _check_prompt(model: OpenedModel, prompt: Sequence[int], sampling: Sampling) -> None:
    given, length = len(prompt), sampling.length(len(prompt))
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
    masked = model.mask_token in prompt
    if masked and sampling.keeps_keys and not model.architecture.by_blocks:
        raise UserError("The prompt holds [MASK], which no step behind a cache fills. Set the cache to none.")
    if masked and model.architecture.by_blocks:
        raise UserError(f"The prompt holds [MASK], which {model.architecture.name} fills in no prompt. Remove it.")


def choices(
    model: LoadedModel, predict: Predict, prompt: torch.Tensor, sampling: Sampling, seed: int, ends: torch.Tensor
) -> Iterator[Choice]:
    """The steps of the model's own sampler after `prompt` (B, P), with parameters of `own_sampling`.

    Families that write by blocks stop after the block in which every text has one of `ends` (n,).
    """
    generator = torch.Generator(device=model.device).manual_seed(seed)
    if isinstance(sampling, DiffusionGemmaSampling):
        return canvas_choices(model, predict, prompt, sampling, generator)
    sampler = SAMPLERS[model.architecture.sampler]
    if not model.architecture.by_blocks:
        return sampler(predict, prompt, sampling, model.mask_token, generator)
    assert model.mask_token is not None
    return sampler(predict, prompt, sampling, Frame(model.architecture, model.mask_token, generator, ends))


# --- LLaDA ------------------------------------------------------------------------------------------------------


def llada_steps(
    predict: Predict, prompt: torch.Tensor, sampling: LLaDASampling, mask_token: int, generator: torch.Generator
) -> Iterator[Choice]:
    """LLaDA's semi-autoregressive remasking (arXiv 2502.09992), and Fast-dLLM's ways of it (arXiv 2505.22618).

    [MASK] tokens inside the prompt are filled too, with the first block.
    """
    text = MaskedText(prompt, sampling.gen_length, mask_token)
    length, device = text.tokens.shape[1], prompt.device
    block, blocks = sampling.block, sampling.gen_length // sampling.block
    precise = sampling.open_ended or sampling.keeps_keys
    for number, end in enumerate(range(text.start + block, length + 1, block), start=1):
        count = text.open(end).sum(dim=1)
        steps = int(count.max()) if sampling.open_ended else sampling.steps // blocks
        for step in range(min(steps, int(count.max()))):
            tokens, open_ = text.tokens, text.open(end)
            if not open_.any():  # as where more was written than was shared out
                break
            queries = cached_queries(sampling.cache, step, (end - block, end), length)
            span = slice(*queries) if queries else slice(None)
            some = partial(predict, queries=queries) if queries else predict  # logits of the queries alone
            logits = guided(some, tokens, text.given, sampling.cfg, mask_token)
            predicted, certainty = tokens.clone(), torch.zeros(tokens.shape, device=device)
            predicted[:, span] = gumbel_argmax(logits, sampling.temperature, generator)
            certainty[:, span] = probability(logits, predicted[:, span])
            confidence = certainty
            if precise:
                certainty = certainty.double() if device.type != "mps" else certainty.clone()
                certainty[:, span] = precise_certainty(logits, predicted[:, span], open_[:, span])
            chosen = _chosen(open_, certainty, sampling, count // steps + (step < count % steps), generator)
            yield text.write(chosen, predicted, confidence, (end - block, end), number, blocks, queries)


def _chosen(
    open_: torch.Tensor,
    certainty: torch.Tensor,
    sampling: LLaDASampling,
    share: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Return the mask of the undecided tokens that a step writes, (B, S). share (B,): tokens per row, split evenly."""
    if sampling.threshold is not None:
        return sure_enough(open_, certainty, sampling.threshold)
    if sampling.factor is not None:
        return surest_by_factor(open_, certainty, sampling.factor)
    if sampling.remasking == "random":
        certainty = torch.rand(open_.shape, generator=generator, device=open_.device)
    # Shared equally; where that does not divide, the first steps take one more.
    return best(certainty.masked_fill(~open_, -math.inf), share)


def dllm_steps(
    predict: Predict, prompt: torch.Tensor, sampling: DLLMSampling, mask_token: int, generator: torch.Generator
) -> Iterator[Choice]:
    """The dLLM project's sampler of whole texts (`core/samplers/mdlm.py` there): LLaDA's rule with another schedule.

    Each step of a block writes round(masks left / steps left) tokens, half to even; steps that write none are left out.
    With a threshold (Fast-dLLM) it writes every token that is sure enough. The last block may be short, and nothing
    stops it before the end of the text. Guidance masks the whole prompt.
    """
    text, blocks = MaskedText(prompt, sampling.gen_length, mask_token), sampling.blocks()
    end = text.start
    for number, length in enumerate(blocks, start=1):
        start, end = end, end + length
        for share in _dllm_shares(text.open(end), sampling):
            open_ = text.open(end)
            if not open_.any():  # as where more was written than was shared out
                break
            logits = guided(predict, text.tokens, text.given, sampling.cfg, mask_token)
            predicted = gumbel_argmax(logits, sampling.temperature, generator)
            ranking = confidence = probability(logits, predicted)
            if sampling.remasking == "random":
                ranking = torch.rand(open_.shape, generator=generator, device=open_.device)
            chosen = best(ranking.masked_fill(~open_, -math.inf), share)
            if sampling.threshold is not None:
                chosen = sure_enough(open_, precise_certainty(logits, predicted, open_), sampling.threshold)
            yield text.write(chosen, predicted, confidence, (start, end), number, len(blocks))


def _dllm_shares(open_: torch.Tensor, sampling: DLLMSampling) -> Iterator[torch.Tensor]:
    """Yield the number of tokens that each step writes per row, (B,), at least one with a threshold. open_: the tokens
    that are still [MASK], (B, S).
    """
    counts = [int(count) for count in open_.sum(dim=1)]
    steps = sampling.steps_per_block if sampling.threshold is None else max(counts)
    rows = [linear_shares(count, steps) for count in counts]
    for step in range(max(map(len, rows))):
        yield torch.tensor([row[step] if step < len(row) else 0 for row in rows], device=open_.device)


# --- autoregressive ---------------------------------------------------------------------------------------------


def autoregressive_steps(
    predict: Predict,
    prompt: torch.Tensor,
    sampling: AutoregressiveSampling,
    mask_token: int | None,
    generator: torch.Generator,
) -> Iterator[Choice]:
    """Write one token per step at the end of the text. The forward is whole every time, so that every query is
    observed.
    """
    tokens = prompt
    for _ in range(sampling.gen_length):
        logits = predict(tokens, len(tokens))[:, -1:]
        predicted, _ = draw(logits, sampling.temperature, sampling.top_p, sampling.top_k, generator)
        length = tokens.shape[1]
        given = torch.arange(length, device=tokens.device).expand_as(tokens) < prompt.shape[1]
        written = appended(tokens, predicted, probability(logits, predicted))
        yield Choice(tokens, written_once(tokens, given, None), *written, (length, length + 1))
        tokens = written[-1]


SAMPLERS: dict[str, Callable[..., Iterator[Choice]]] = {
    "llada": llada_steps,
    "dream": dream_steps,
    "dllm": dllm_steps,
    "mdlm": mdlm_steps,
    "autoregressive": autoregressive_steps,
    **BLOCK_SAMPLERS,
    "first-hitting": first_hitting_steps,
}


# How chat templates close a turn, which is not always the end-of-text token.
_TURN_ENDS = ("<|eot_id|>", "<|im_end|>", "<|end_of_turn|>", "<end_of_turn>", "<|endoftext|>")


def end_ids(model: LoadedModel) -> torch.Tensor:
    """Return `stop_tokens` on the model's device, (n,)."""
    return torch.tensor(sorted(stop_tokens(model)), dtype=torch.long, device=model.device)


def stop_tokens(model: LoadedModel) -> set[int]:
    """Return the ids that end a text or a turn, at which autoregressive decoding stops."""
    sources: tuple[Any, ...] = (
        getattr(model.network, "generation_config", None),  # none where the class has no way of writing
        model.network.config,
        model.tokenizer,
    )
    ids: set[int] = set()
    for source in sources:
        value = getattr(source, "eos_token_id", None)
        ids.update(value if isinstance(value, list) else [] if value is None else [value])
    if model.architecture.encoder and model.tokenizer is not None and model.tokenizer.sep_token_id is not None:
        ids.add(model.tokenizer.sep_token_id)
    if model.tokenizer is not None:
        vocabulary = model.tokenizer.get_vocab()
        ids.update(vocabulary[name] for name in _TURN_ENDS if name in vocabulary)
    return ids
