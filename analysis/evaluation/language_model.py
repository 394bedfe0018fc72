"""lm-eval's `LM` interface over our models: its tasks, prompts and metrics run on diffusion models as on any other.

How a prompt and an answer become tokens is lm-eval's own (`TemplateLM.loglikelihood`): encoded together and split at
the prompt's length, the prompt's trailing spaces moved to the answer, one start token where the prompt is empty, and
what is too long cut from the left.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from transformers import PreTrainedTokenizerBase

from analysis.errors import UserError
from analysis.evaluation import early_draws
from analysis.evaluation.canvas_likelihood import canvas_log_likelihoods
from analysis.evaluation.likelihood import (
    Budget,
    Known,
    Likelihood,
    OnResult,
    Request,
    greedy_match,
    log_likelihoods,
    seed_of,
)
from analysis.evaluation.tasks import DEFAULT_NEW_TOKENS
from analysis.models.loaded import LoadedModel
from analysis.models.tokenizer import chat_text
from analysis.recording.denoising import stop_tokens
from analysis.recording.evicting import Call, new_cache, over_cache
from analysis.recording.eviction import EvictedForwards, caches, written
from analysis.specs import CANVAS_SCORES, SAMPLINGS, DiffusionGemmaSampling, Keeping, Sampling


@dataclass(frozen=True)
class Settings:
    """Settings for scoring and writing answers.

    greedy: also find out whether greedy decoding writes the answer, which few metrics need and which costs
    forwards. gen_length: new tokens, None for the task's. early_draws: draw only until an item's answer is clear.
    canvas_score: of `CANVAS_SCORES`, what gives likelihoods of models whose noise is random tokens; '' for others.
    """

    draws: int = 32
    seed: int = 0
    guidance: float = 0.0
    greedy: bool = True
    gen_length: int | None = None
    early_draws: bool = False
    chat: bool = False
    canvas_score: str = ""


# The index of a finished request, its response as lm-eval takes it, and the draws and exactness of a likelihood.
OnResponse = Callable[[int, Any, Likelihood | None], None]


class LanguageModel(TemplateLM):  # type: ignore[misc] # lm-eval's package has no types
    """One of our models as lm-eval sees it. `on_response` is called with every finished request.

    kept: how much of its keys and values a policy leaves it, None for all.
    """

    def __init__(
        self,
        model: LoadedModel,
        settings: Settings,
        budget: Budget | None = None,
        known: Known | None = None,
        kept: Keeping | None = None,
    ) -> None:
        super().__init__()
        if model.tokenizer is None:
            raise UserError(f"'{model.spec.source}' has no tokenizer, so it cannot be evaluated. Add its files.")
        self.model, self.settings = model, settings
        self.tokenizer = model.tokenizer
        self.budget = budget or Budget.of(model)
        self.known: Known = {} if known is None else known
        self.kept = None if kept is None or kept.all_stays else EvictedForwards(model, kept)
        self.on_response: OnResponse = lambda index, response, likelihood: None
        self.on_forward: Callable[[], None] = lambda: None  # before every forward; may raise to stop
        self.cut: set[int] = set()  # requests whose prompt was cut from the left because it was too long
        self._start = _start_tokens(model)
        self._bare_ids = _encoder(model.tokenizer)
        self._origins: list[tuple[str, Any]] = []

    # --- tokens ---

    @property
    def eot_token_id(self) -> int:
        return min(stop_tokens(self.model), default=0)

    @property
    def prefix_token_id(self) -> int:
        """Token in place of an empty prompt: the one that begins a text, else the one that ends it."""
        bos, eos = (getattr(self.tokenizer, f"{name}_token_id", None) for name in ("bos", "eos"))
        return next((token for token in (bos, eos) if token is not None), self.eot_token_id)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Token ids. Start tokens are the tokenizer's own, unless the text (a chat template's) has them already."""
        ids = list(self._bare_ids(string))
        bare = self.settings.chat if add_special_tokens is None else not add_special_tokens
        if bare or ids[: len(self._start)] == self._start:
            return ids
        return [*self._start, *ids]

    @property
    def tokenizer_name(self) -> str:
        return self.model.fingerprint

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The turns as the model was tuned on them. Raises UserError where there is no template."""
        return chat_text(self.tokenizer, chat_history, add_generation_prompt)

    # --- likelihoods ---

    def loglikelihood(self, requests: Sequence[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        self._origins = [(request.task_name or "", request.doc_id) for request in requests]
        answers: list[tuple[float, bool]] = super().loglikelihood(list(requests), disable_tqdm=True)
        return answers

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        items = _items([texts for texts, *_ in requests], self._origins)
        questions = [
            replace(self._fitted(index, context, continuation, origin[0]), item=items[origin])
            for index, ((_, context, continuation), origin) in enumerate(zip(requests, self._origins, strict=True))
        ]
        responses: list[tuple[float, bool]] = [(0.0, False)] * len(questions)

        def finished(index: int, result: Likelihood) -> None:
            greedy = result.greedy
            if greedy is None:
                greedy = self.settings.greedy and greedy_match(self.model, questions[index], self.kept)
            responses[index] = (result.value, greedy)
            self.on_response(index, responses[index], result)

        self._score(questions, finished, self.guidance, self._origins)
        return responses

    def _score(
        self,
        questions: Sequence[Request],
        on_result: OnResult,
        guidance: float = 0.0,
        items: Sequence[Hashable] | None = None,
    ) -> None:
        """Find the likelihoods of answers. items: which item each belongs to, if draws may end early."""
        settings = self.settings
        options: dict[str, Any] = {
            "draws": settings.draws,
            "seed": settings.seed,
            "on_result": on_result,
            "budget": self.budget,
            "on_forward": self.on_forward,
            "kept": self.kept,
        }
        if self.model.architecture.noise == "uniform":
            by = settings.canvas_score or next(iter(CANVAS_SCORES))
            canvas_log_likelihoods(self.model, questions, by, **options)
            return
        options |= {"guidance": guidance, "known": self.known}
        if items is not None and settings.early_draws and self.model.mask_token is not None:
            early_draws.log_likelihoods(self.model, questions, items, **options)
        else:
            log_likelihoods(self.model, questions, **options)

    @property
    def guidance(self) -> float:
        """The scale in use: an autoregressive model has no mask to hide the prompt with, so it has none."""
        return 0.0 if self.model.mask_token is None else self.settings.guidance

    def _fitted(self, index: int, context: list[int], continuation: list[int], task: str) -> Request:
        room = self.model.geometry.max_length - len(continuation)
        least = 0 if self.model.mask_token is not None else 1
        if room < least:
            raise UserError(
                f"An answer of '{task}' has {len(continuation)} tokens; this model takes "
                f"{self.model.geometry.max_length}."
            )
        if len(context) > room:
            self.cut.add(index)
            context = context[len(context) - room :]
        return Request(tuple(context), tuple(continuation), task)

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = True) -> list[float]:
        """The log-likelihood of whole texts, in windows of the model's length, each token scored once.

        For a diffusion model every window's is the bound, so the sum is a bound, too.
        """
        parts, owner = [], []
        for index, request in enumerate(requests):
            windows = get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0], add_special_tokens=False),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.model.geometry.max_length - 1,
                context_len=1,
            )
            for window in windows:
                context, continuation = make_disjoint_window(window)
                parts.append(Request(tuple(context), tuple(continuation), request.task_name or ""))
                owner.append(index)
        waiting = [owner.count(index) for index in range(len(requests))]
        totals = [0.0] * len(requests)

        def finished(window: int, result: Likelihood) -> None:
            index = owner[window]
            totals[index] += result.value
            waiting[index] -= 1
            if not waiting[index]:
                self.on_response(index, totals[index], Likelihood(totals[index], result.exact, result.draws))

        for index in range(len(requests)):
            if not waiting[index]:  # an empty text
                self.on_response(index, 0.0, Likelihood(0.0, True, 0))
        self._score(parts, finished)
        return totals

    # --- generation ---

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = True) -> list[str]:
        """Text written by the model's own sampler, up to the first stop string."""
        texts = [""] * len(requests)
        groups: dict[tuple[int, int, float], list[int]] = defaultdict(list)
        prompts = []
        for index, request in enumerate(requests):
            context, wanted = request.args[0], dict(request.args[1])
            length = self.settings.gen_length or int(wanted.get("max_gen_toks") or DEFAULT_NEW_TOKENS)
            temperature = float(wanted.get("temperature") or 0.0) if wanted.get("do_sample") else 0.0
            # Texts written by blocks end with one.
            room = self.model.geometry.max_length - length - (self.model.architecture.block_size or 0)
            ids = self.tok_encode(context)
            if room < 1:
                raise UserError(
                    f"'{request.task_name}' writes {length} tokens; this model takes {self.model.geometry.max_length} "
                    "with the prompt. Choose fewer new tokens."
                )
            if len(ids) > room:
                self.cut.add(index)
            prompts.append(ids[-room:])
            groups[len(prompts[-1]), length, temperature].append(index)
        for (prompt_length, length, temperature), members in sorted(groups.items()):
            size = max(1, self.budget.tokens // (prompt_length + length))
            # Random draws must not depend on the rest of the batch.
            sampling = self._sampling(length, temperature)
            alone = temperature > 0 or self.model.architecture.noise == "uniform" or sampling.keeps_keys
            size = 1 if alone else size
            for start in range(0, len(members), size):
                batch = members[start : start + size]
                stops = [_stops(requests[index]) for index in batch]
                first = Request(tuple(prompts[batch[0]]), (), requests[batch[0]].task_name or "")
                written = self._write(
                    [prompts[index] for index in batch],
                    length,
                    sampling,
                    seed_of(first, self.settings.seed) % 2**31,
                    stops,
                )
                for index, text in zip(batch, written, strict=True):
                    texts[index] = text
                    self.on_response(index, text, None)
        return texts

    def _sampling(self, length: int, temperature: float) -> Sampling:
        """Sample one token per step, but where the published sampler writes what is sure enough at once. Raises
        UserError where the model's sampler has no temperature or no guidance to follow the task with.
        """
        kind = SAMPLINGS[self.model.architecture.sampler]
        settings = {"steps": length, "temperature": temperature, "cfg": self.guidance}
        unserved = [name for name in ("temperature", "cfg") if settings[name] and name not in kind.model_fields]
        if unserved and self.model.architecture.by_blocks:
            raise UserError(
                f"The sampler of {self.model.architecture.name} has no {' and no '.join(unserved)}, which the task or "
                "the settings ask for. Leave them at 0."
            )
        known = {name: value for name, value in settings.items() if name in kind.model_fields}
        sampling: Sampling = kind.model_validate({"gen_length": length, **known})
        return sampling if self.kept is None else caches(self.model, sampling)

    def _write(
        self, prompts: list[list[int]], length: int, sampling: Sampling, seed: int, stops: list[list[str]]
    ) -> list[str]:
        model, ends = self.model, stop_tokens(self.model)
        prompt = torch.tensor(prompts, device=model.device)

        def texts(tokens: np.ndarray | torch.Tensor) -> tuple[list[str], bool]:
            answers: list[str] = []
            over = True
            for row, stop in zip(tokens.tolist(), stops, strict=True):
                end = next((i for i, token in enumerate(row) if token in ends), None)
                text = str(self.tokenizer.decode(row[:end], skip_special_tokens=True))
                cut = min((text.find(mark) for mark in stop if mark and mark in text), default=None)
                over = over and (end is not None or cut is not None)
                answers.append(text if cut is None else text[:cut])
            return answers, over

        forward: Callable[[Call], torch.Tensor] = self._whole
        if self.kept is not None:
            forward = self.kept.writer(prompt, sampling)
        elif sampling.keeps_keys:
            forward = partial(over_cache, new_cache(model))
        tokens = written(model, prompt, sampling, seed, forward, self.on_forward, lambda tokens: texts(tokens)[1])
        if isinstance(sampling, DiffusionGemmaSampling):  # of whole canvases as many tokens count as were asked for
            tokens = tokens[:, :length]
        return texts(tokens)[0]

    def _whole(self, call: Call) -> torch.Tensor:
        return self.model.predict(call.tokens, layout=call.layout, aligned=call.aligned)


def _items(texts: Sequence[Any], origins: Sequence[tuple[str, Any]]) -> dict[tuple[str, Any], str]:
    """Name each item by a hash of all that is asked of it together, never by its number.

    texts: context and answer of every request. origins: task and number of the item it belongs to.
    """
    questions: dict[tuple[str, Any], set[str]] = defaultdict(set)
    for request, origin in zip(texts, origins, strict=True):
        questions[origin].add(repr(tuple(request)))
    return {origin: hashlib.sha256("\n".join(sorted(some)).encode()).hexdigest() for origin, some in questions.items()}


def _stops(request: Instance) -> list[str]:
    stops = request.args[1].get("until") or []
    return [stops] if isinstance(stops, str) else list(stops)


def _encoder(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], tuple[int, ...]]:
    """Token ids of a text alone. The last few are kept: an item's choices come one after the other, each with the
    context that they share.
    """

    @lru_cache(maxsize=4)
    def encode(string: str) -> tuple[int, ...]:
        return tuple(tokenizer(string, add_special_tokens=False, verbose=False)["input_ids"])

    return encode


def _start_tokens(model: LoadedModel) -> list[int]:
    """Return what the tokenizer puts before every text: what `with special tokens` has before `without`."""
    assert model.tokenizer is not None
    plain = list(model.tokenizer("a", add_special_tokens=False)["input_ids"])
    whole = list(model.tokenizer("a")["input_ids"])
    at = next((i for i in range(len(whole)) if whole[i : i + len(plain)] == plain), 0)
    return whole[:at]
