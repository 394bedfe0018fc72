"""The log-likelihood of an answer given a context: exact where that is cheap, else an unbiased Monte Carlo estimate.

For a masked diffusion model it is LLaDA's bound (arXiv 2502.09992, appendix B.5). Of the L answer tokens k ~ U{1..L}
are masked, a set of k positions drawn uniformly, and the log-probabilities of the masked tokens summed with weight L/k:

    E_k E_{|M| = k} [ L/k · Σ_{i∈M} log p(x_i | context, x without M) ]

Which sets are masked is `masked_sets`' business.

For an autoregressive model it is the chain rule, always exact. For a model that writes block by block the chain rule
holds over blocks: the log-probability of the answer's tokens in each block given the clean text before it, by the same
estimator within the block (BD3LM, arXiv 2503.09573). The text ends where the answer ends, so that its last block may be
short. Where a family opens a block with the likeliest token after the text so far, that token is one of the chain.

Which positions a draw masks depends on the task, the item, the answer's length and the seed alone: models that are
compared, and answers to one item that are as long, see the very same masks, whatever the order, the batch size or the
machine. Answers to one item of unequal lengths share the strata, and the orders that decks are dealt from as far as the
shorter goes. Masked inputs that are equal share one forward.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch

from analysis.errors import UserError
from analysis.evaluation.masked_sets import MaskedSet, all_sets, drawn_sets, hashed, is_exact
from analysis.models.layout import Layout, layout_of
from analysis.models.loaded import LoadedModel
from analysis.recording.denoising import stop_tokens
from analysis.recording.eviction import EvictedForwards, OnForward
from analysis.specs import TEXT_DRAWS


@dataclass(frozen=True)
class Request:
    """One answer to score. context and continuation are token ids; task and item only enter the seed.

    item: names what is asked, the same for all answers it is chosen from, whose contexts can differ (WinoGrande's do).
    Empty takes the context.
    """

    context: tuple[int, ...]
    continuation: tuple[int, ...]
    task: str = ""
    item: str = ""


@dataclass(frozen=True)
class Likelihood:
    """value: log-likelihood (or its bound) in nats. exact: no Monte Carlo error. draws: masked sets it is a sum of.

    greedy: whether every token is the likeliest one given those before it; None for a diffusion model, which has no
    order (`greedy_match` decodes to find out). tokens: of the answer.
    """

    value: float
    exact: bool
    draws: int
    greedy: bool | None = None
    tokens: int = 0


OnResult = Callable[[int, Likelihood], None]
"""Called with the index of each answer and its likelihood as it is finished."""

Known = dict[bytes, Likelihood]
"""Exact likelihoods of one model by a digest of guidance, context and answer: items often ask what others asked."""


@dataclass(frozen=True)
class Part:
    """A piece of an answer that is scored on its own: all of it, or what of it lies in one block.

    answer: number of the request. context, tokens: the clean text before it, and its own. layout: the blocks, if the
    model has some. opening: its tokens are
    read causally, each as the one after the text so far; of blocks, one token.
    """

    answer: int
    context: tuple[int, ...]
    tokens: tuple[int, ...]
    layout: Layout | None = None
    opening: bool = False


@dataclass
class Budget:
    """Size limit of one forward. It is halved when memory runs out, and stays so."""

    tokens: int = 8192
    logit_bytes: int = 2**28

    @classmethod
    def of(cls, model: LoadedModel) -> "Budget":
        """Return the budget to start with on the model's device."""
        return cls() if model.device.type == "cpu" else cls(tokens=32768, logit_bytes=2**31)

    def rows(self, length: int, kept: int, vocabulary: int) -> int:
        """Return how many sequences of this length, with this many predicted positions, go into one forward."""
        return max(1, min(self.tokens // length, self.logit_bytes // (4 * kept * vocabulary)))

    def shrink(self, rows: int, length: int) -> None:
        """After `rows` sequences of this length did not fit."""
        self.tokens = max(1, min(self.tokens, rows * length) // 2)


def seed_of(request: Request, seed: int) -> int:
    """A seed that depends on what is asked alone, never on the order of asking."""
    return hashed((seed, request.task, request.context, request.continuation))


def masks_seed(request: Request, seed: int) -> int:
    """The seed of an answer's masked sets: one for all answers to the same item.

    So the choices of an item are masked alike, as the models are that are compared: what the masks alone do to a
    likelihood is then the same in all, and goes out of the choice between them. Of choices of unequal length it is
    nearly so (`drawn_sets`).
    """
    return hashed((seed, request.task, request.item or request.context))


def _digest(guidance: float, request: Request) -> bytes:
    return hashlib.sha256(repr((guidance, request.context, request.continuation)).encode()).digest()[:16]


def log_likelihoods(
    model: LoadedModel,
    requests: Sequence[Request],
    draws: int = 32,
    seed: int = 0,
    on_result: OnResult = lambda index, result: None,
    guidance: float = 0.0,
    budget: Budget | None = None,
    on_forward: OnForward = lambda: None,
    known: Known | None = None,
    kept: EvictedForwards | None = None,
) -> list[Likelihood]:
    """Score answers, in the order asked. `on_result` is called with the index of each as it is finished.

    draws: masked sets allowed per answer of a diffusion model. guidance: classifier-free guidance g, with logits c
    given the context and u with the context masked: LLaDA's u + (g + 1)(c − u), Dream's u + g(c − u); 0 is none.
    known: exact likelihoods that this model
    gave before are taken from it, and new ones added. kept: keys that are left out, where some are. Raises UserError
    for an empty continuation, for a text longer than the model takes and for what is not finite; MemoryError when not
    even one sequence fits.
    """
    _check(model, requests)
    if guidance and model.architecture.by_blocks:
        raise UserError(
            f"{model.architecture.name} is scored block by block, without guidance. Set the guidance scale to 0."
        )
    results: dict[int, Likelihood] = {}
    known = {} if known is None else known
    names = [_digest(guidance, request) for request in requests]
    for index, name in enumerate(names):
        if name in known:
            results[index] = known[name]
            on_result(index, known[name])
    parts = [
        part
        for index, request in enumerate(requests)
        if index not in results
        for part in answer_parts(model, index, request)
    ]
    exact = [True] * len(requests)
    plans: list[Sequence[MaskedSet]] = []
    planned = [0] * len(requests)
    for part in parts:
        plan, whole = _plan(model, part, requests[part.answer], draws, seed)
        plans.append(plan)
        planned[part.answer] += len(plan)
        exact[part.answer] &= whole
    sums: list[list[float]] = [[] for _ in requests]
    greedy = [model.mask_token is None] * len(requests)
    scored = run_forwards(
        model, planned_forwards(model, parts, plans), guidance, budget or Budget.of(model), on_forward, kept
    )
    for reader, value, likeliest in scored:
        sums[reader.request].append(reader.weight * value)
        greedy[reader.request] &= likeliest
        if len(sums[reader.request]) == planned[reader.request]:
            index = reader.request
            # fsum does not depend on the order in which batches came.
            results[index] = Likelihood(
                math.fsum(sums[index]),
                exact[index],
                planned[index],
                greedy[index] if model.mask_token is None else None,
                len(requests[index].continuation),
            )
            if exact[index]:
                known[names[index]] = results[index]
            on_result(index, results[index])
    return [results[index] for index in range(len(requests))]


def answer_parts(model: LoadedModel, index: int, request: Request) -> list[Part]:
    """Split an answer into the parts that its likelihood sums over: one, or one per block from left to right."""
    architecture, text = model.architecture, (*request.context, *request.continuation)
    if not architecture.by_blocks:
        return [Part(index, request.context, request.continuation)]
    layout = layout_of(architecture, len(request.context))
    parts, at = [], len(request.context)
    while at < len(text):
        start, end = layout.start(at), min(layout.end(at), len(text))
        if architecture.opened and at == start and at > 0:
            parts.append(Part(index, text[:at], text[at : at + 1], layout, opening=True))
            at += 1
        if at < end:
            parts.append(Part(index, text[:at], text[at:end], replace(layout, open_from=start)))
        at = end
    return parts


def _plan(model: LoadedModel, part: Part, request: Request, draws: int, seed: int) -> tuple[Sequence[MaskedSet], bool]:
    """The masked sets of a part, and whether they are all there are."""
    length = len(part.tokens)
    if model.mask_token is None or part.opening:
        return [MaskedSet(tuple(range(length)), 1.0)], True
    if is_exact(length, draws):
        return all_sets(length), True
    request_seed = masks_seed(request, seed)
    if part.layout is not None:  # each block draws sets of its own
        request_seed = hashed((request_seed, len(part.context) - len(request.context)))
    return drawn_sets(length, draws, request_seed), False


# --- forwards ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reader:
    """Log-probabilities that one request takes from a forward: positions and tokens of its answer."""

    request: int
    positions: tuple[int, ...]
    tokens: tuple[int, ...]
    weight: float


@dataclass
class Forward:
    """An input whose last logits are about the answer's tokens, and who reads them. answer: its length in tokens.

    layout, opening: as in `Part`.
    """

    context: tuple[int, ...]
    shown: tuple[int, ...]
    answer: int
    layout: Layout | None = None
    opening: bool = False
    readers: list[Reader] = field(default_factory=list)

    @property
    def length(self) -> int:
        return len(self.context) + len(self.shown)


def planned_forwards(
    model: LoadedModel, parts: Sequence[Part], plans: Sequence[Sequence[MaskedSet]]
) -> Iterable[Forward]:
    """The distinct inputs. Choices of an item share one where what is masked is all they differ in.

    An autoregressive model reads the answer up to its last token; so one-token answers share one forward there, too.
    """
    forwards: dict[tuple[object, ...], Forward] = {}
    for part, plan in zip(parts, plans, strict=True):
        answer = part.tokens
        for masked in plan:
            if model.mask_token is None or part.opening:
                shown = answer[:-1]
            else:
                hidden = set(masked.positions)
                shown = tuple(model.mask_token if i in hidden else token for i, token in enumerate(answer))
            new = Forward(part.context, shown, len(answer), part.layout, part.opening)
            forward = forwards.setdefault((new.context, shown, new.answer, new.layout, new.opening), new)
            tokens = tuple(answer[position] for position in masked.positions)
            forward.readers.append(Reader(part.answer, masked.positions, tokens, masked.weight))
    return forwards.values()


def run_forwards(
    model: LoadedModel,
    forwards: Iterable[Forward],
    guidance: float,
    budget: Budget,
    on_forward: OnForward,
    kept: EvictedForwards | None = None,
    predict: Callable[..., torch.Tensor] | None = None,
) -> Iterable[tuple[Reader, float, bool]]:
    """Every reader with its sum of log-probabilities, and whether all its tokens are the likeliest. predict: gives the
    logits in the place of `LoadedModel.predict`.

    Inputs of one length go together, so that nothing is padded; of those with blocks, the ones whose blocks lie alike.
    """
    together: dict[tuple[int, str], list[Forward]] = defaultdict(list)
    for forward in forwards:
        together[forward.length, repr((forward.layout, forward.opening))].append(forward)
    for (length, _), rows in sorted(together.items()):
        start = 0
        while start < len(rows):
            predicted = max(row.answer for row in rows[start:])
            batch = rows[start : start + budget.rows(length, predicted, model.geometry.vocabulary)]
            on_forward()
            try:
                scored = _scores(model, batch, guidance, kept, predict or model.predict)
            except (RuntimeError, MemoryError) as error:
                if not _out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise MemoryError(f"Not even one text of {length} tokens fits into memory.") from error
                budget.shrink(len(batch), length)
                _free(model)
                continue
            start += len(batch)
            yield from scored


def _scores(
    model: LoadedModel,
    batch: list[Forward],
    guidance: float,
    kept: EvictedForwards | None,
    predict: Callable[..., torch.Tensor],
) -> list[tuple[Reader, float, bool]]:
    last = max(row.answer for row in batch)
    tokens = torch.tensor([row.context + row.shown for row in batch])
    layout, aligned = batch[0].layout, not batch[0].opening
    edit = None if kept is None else kept.edit(tokens, [len(row.context) for row in batch], layout, aligned)
    logits = predict(tokens, edit=edit, keep=last, layout=layout, aligned=aligned)
    unconditional, factor = None, _guidance_factor(model, guidance)
    if factor != 1:
        blank = [(model.mask_token,) * len(row.context) + row.shown for row in batch]
        # What is hidden is chosen with the context, so it differs by row.
        named = [(shown, number if edit is not None else 0) for number, shown in enumerate(blank)]
        distinct = {name: number for number, name in enumerate(dict.fromkeys(named))}
        unconditional = predict(torch.tensor([shown for shown, _ in distinct]), edit=edit, keep=last)
    row_of, at, expected, without = [], [], [], []
    for number, row in enumerate(batch):
        for reader in row.readers:
            for position, token in zip(reader.positions, reader.tokens, strict=True):
                row_of.append(number)
                at.append(last - row.answer + position)
                expected.append(token)
                if unconditional is not None:
                    without.append(distinct[named[number]])
    device = logits.device
    chosen = logits[torch.tensor(row_of, device=device), torch.tensor(at, device=device)].float()
    if unconditional is not None:
        base = unconditional[torch.tensor(without, device=device), torch.tensor(at, device=device)].float()
        chosen = base + factor * (chosen - base)
    wanted = torch.tensor(expected, device=device)
    logs = chosen.log_softmax(dim=-1).gather(-1, wanted[:, None])[:, 0].double().tolist()
    likeliest = (chosen.argmax(dim=-1) == wanted).tolist()
    scored, start = [], 0
    for row in batch:
        for reader in row.readers:
            end = start + len(reader.positions)
            total = math.fsum(logs[start:end])
            scored.append((reader, finite(total), all(likeliest[start:end])))
            start = end
    return scored


def finite(value: float) -> float:
    """Return the likelihood of an answer. Raises UserError where it is not finite."""
    if not math.isfinite(value):
        raise UserError(
            f"The likelihood of an answer is not finite ({value}): the model rules one of its tokens out, or its "
            "numbers overflow. Run in float32, or check the checkpoint."
        )
    return value


def _guidance_factor(model: LoadedModel, guidance: float) -> float:
    """Return the factor of (c − u); 1 is plain conditional prediction."""
    if guidance == 0:
        return 1.0
    if model.mask_token is None:
        raise UserError("Guidance needs a mask token to hide the context; an autoregressive model has none.")
    return guidance if model.architecture.sampler == "dream" else guidance + 1


def _out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "out of memory" in text or "can't allocate memory" in text


def _free(model: LoadedModel) -> None:
    if model.device.type == "cuda":
        torch.cuda.empty_cache()
    elif model.device.type == "mps":
        torch.mps.empty_cache()


# --- greedy decoding --------------------------------------------------------------------------------------------


def greedy_match(model: LoadedModel, request: Request, kept: EvictedForwards | None = None) -> bool:
    """Return True if greedy decoding of as many tokens as the continuation has writes the continuation.

    A diffusion model uncovers one token per step, the surest first (LLaDA's low-confidence remasking), block after
    block where it writes so. It ends at the first token that differs, so that most answers take few forwards.
    """
    return all(_greedy_part(model, part, kept) for part in answer_parts(model, 0, request))


def _greedy_part(model: LoadedModel, part: Part, kept: EvictedForwards | None) -> bool:
    assert model.mask_token is not None

    def logits(shown: list[int], keep: int) -> torch.Tensor:
        tokens, aligned = torch.tensor([[*part.context, *shown]]), not part.opening
        edit = None if kept is None else kept.edit(tokens, [len(part.context)], part.layout, aligned)
        return model.predict(tokens, edit=edit, keep=keep, layout=part.layout, aligned=aligned)[0].float()

    if part.opening:
        return int(logits([], 1)[-1].argmax()) == part.tokens[0]
    length = len(part.tokens)
    shown = [model.mask_token] * length
    for _ in range(length):
        probabilities, likeliest = logits(shown, length).softmax(dim=-1).max(dim=-1)
        hidden = torch.tensor([token == model.mask_token for token in shown], device=probabilities.device)
        position = int(probabilities.masked_fill(~hidden, -1).argmax())
        shown[position] = int(likeliest[position])
        if shown[position] != part.tokens[position]:
            return False
    return True


def _check(model: LoadedModel, requests: Sequence[Request]) -> None:
    if model.architecture.noise == "uniform":
        raise UserError(
            f"No masked-diffusion likelihood is estimated for {model.architecture.name}: such estimators average over "
            "[MASK] in the answer, and its noise is random tokens. Its answers are scored by `canvas_log_likelihoods`."
        )
    for request in requests:
        check_request(model, request, model.architecture.opens_causally)


def check_request(model: LoadedModel, request: Request, needs_context: bool, canvas: int | None = None) -> None:
    """Raise UserError for an answer that cannot be scored. canvas: tokens that are read in its place."""
    longest, answer = model.geometry.max_length, len(request.continuation)
    length = len(request.context) + (answer if canvas is None else canvas)
    if not answer:
        raise UserError("An answer with no tokens has no likelihood. Check the task's choices.")
    if not request.context and needs_context:
        raise UserError(f"{model.architecture.name} needs at least one context token to score an answer.")
    if length > longest:
        what = "answer" if canvas is None else "canvas"
        raise UserError(f"Context and {what} make {length} tokens; this model takes {longest}. Use fewer examples.")


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
