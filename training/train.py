"""Train the bundled pair: a masked diffusion model by LLaDA's recipe, and its autoregressive twin.

    python -m training.train --kind diffusion --tokens 20e6 --seed 0 --out analysis/bundled/diffusion
    python -m training.train --kind autoregressive --tokens 20e6 --seed 0 --out analysis/bundled/autoregressive

Both have the same blocks and see the same batches. The budget is a number of tokens and the schedule follows the tokens
seen, so two runs with one budget do the same steps however busy the machine is.
With --resume a run goes on from its last checkpoint.

Loss of the diffusion model: of a row of S tokens l ~ U{1..S} are masked and their cross-entropies weighted by S/l, the
lower-variance form of LLaDA's t ~ U(0, 1) with weight 1/t (arXiv 2502.09992). Of the twin: next-token cross-entropy.
Muon trains v, o and MLP matrices, AdamW the rest: Muon on q and k saturates attention.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from analysis.job_context import environment
from analysis.models import load, native_code
from training.stream import TOKENS, batch, games_at
from training.tokenizer import BOS, EOS, MASK, PAD, build_tokenizer

KINDS = ("diffusion", "autoregressive")
MAX_LENGTH = 256
# Compiled plain matrix products are faster here than the CPU's fused attention, whose backward pass is slow.
ATTENTION = "eager"
VALIDATION_SEED = 1_000_000  # a stream no training seed reaches
VALIDATION_BATCHES = 12
CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Recipe:
    """Shape and optimisation. Learning rates are peaks; `flat` is the share of the budget before the cosine decay."""

    hidden: int = 192
    layers: int = 8
    heads: int = 6
    mlp: int = 576
    embedding_std: float = 0.3
    adam_lr: float = 1.5e-3
    adam_decay: float = 0.1
    muon_lr: float = 0.01
    muon_decay: float = 0.1
    muon_iterations: int = 4
    warmup_steps: int = 100
    flat: float = 0.35
    lowest_lr: float = 0.02
    clip: float = 1.0


@dataclass
class TrainingProgress:
    """State in a checkpoint beside weights and optimizers.

    seconds, cpu_seconds: wall and processor time of the training steps, without the compilation of the first of each
    row length. cpu_seconds over threads is the time the run takes on an idle machine.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0


def build(kind: str, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, seed: int) -> PreTrainedModel:
    """A fresh model: LLaDA's config and names for the diffusion model, plain Llama for the twin."""
    load.register()
    torch.manual_seed(seed)
    ids: dict[str, Any] = {
        name: tokenizer.convert_tokens_to_ids(token)
        for name, token in (("pad_token_id", PAD), ("bos_token_id", BOS), ("eos_token_id", EOS))
    }
    if kind == "diffusion":
        fields = {
            "d_model": recipe.hidden,
            "n_layers": recipe.layers,
            "n_heads": recipe.heads,
            "n_kv_heads": recipe.heads,
            "mlp_hidden_size": recipe.mlp,
            "max_sequence_length": MAX_LENGTH,
            "vocab_size": len(tokenizer),
            "embedding_size": len(tokenizer),
            "rope_theta": 10000.0,
            "mask_token_id": tokenizer.convert_tokens_to_ids(MASK),
            "block_type": "llama",
            "layer_norm_type": "rms",
            "rope": True,
            "alibi": False,
            **ids,
        }
        config: Any = native_code.LLaDAConfig(**fields)
        network: PreTrainedModel = native_code.LLaDAModelLM._from_config(config, attn_implementation=ATTENTION)
    else:
        fields = {
            "hidden_size": recipe.hidden,
            "num_hidden_layers": recipe.layers,
            "num_attention_heads": recipe.heads,
            "num_key_value_heads": recipe.heads,
            "intermediate_size": recipe.mlp,
            "max_position_embeddings": MAX_LENGTH,
            "vocab_size": len(tokenizer),
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
            **ids,
        }
        config = LlamaConfig(**fields)
        network = LlamaForCausalLM._from_config(config, attn_implementation=ATTENTION)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.normal_(0, 0.02 / math.sqrt(2 * recipe.layers))
            elif "embed_tokens" in name:
                weight.normal_(0, recipe.embedding_std)
            elif weight.dim() == 2:
                weight.normal_(0, 0.02)
    return network


def optimizers(network: PreTrainedModel, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for v, o and the MLP; AdamW for q, k, embeddings, head and (without decay) norms."""
    muon, decayed, plain = [], [], []
    for name, weight in network.named_parameters():
        if weight.dim() < 2:
            plain.append(weight)
        elif ".layers." in name and "q_proj" not in name and "k_proj" not in name:
            muon.append(weight)
        else:
            decayed.append(weight)
    adam = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.adam_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=recipe.adam_lr,
        betas=(0.9, 0.98),
        fused=True,
    )
    return [
        adam,
        torch.optim.Muon(
            muon,
            lr=recipe.muon_lr,
            weight_decay=recipe.muon_decay,
            momentum=0.95,
            ns_steps=recipe.muon_iterations,
            adjust_lr_fn="original",
        ),
    ]


Targets = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def masked_targets(tokens: torch.Tensor, mask_token: int, generator: torch.Generator) -> Targets:
    """Input (B, S), flat positions to predict, their tokens, and weights that make the sum an unbiased bound a token.

    l is stratified over the rows of the batch.
    """
    rows, length = tokens.shape
    strata = (torch.rand(1, generator=generator) + torch.arange(rows) / rows) % 1.0
    count = (strata * length).long() + 1
    ranks = torch.rand(rows, length, generator=generator).argsort(1).argsort(1)
    masked = ranks < count[:, None]
    chosen = masked.view(-1).nonzero()[:, 0]
    weight = (length / count)[:, None].expand(rows, length).reshape(-1)[chosen] / tokens.numel()
    return tokens.masked_fill(masked, mask_token), chosen, tokens.view(-1)[chosen], weight


def next_targets(tokens: torch.Tensor, mask_token: int, generator: torch.Generator) -> Targets:
    """As `masked_targets`, for predicting each next token."""
    rows, length = tokens.shape
    positions = torch.arange(rows * length).view(rows, length)[:, :-1].reshape(-1)
    return tokens, positions, tokens[:, 1:].reshape(-1), torch.full((len(positions),), 1 / len(positions))


TARGETS: dict[str, Callable[..., Targets]] = {"diffusion": masked_targets, "autoregressive": next_targets}


def loss_of(
    hidden: Callable[[torch.Tensor], torch.Tensor], network: PreTrainedModel, targets: Targets, mixed: bool = False
) -> tuple[torch.Tensor, float]:
    """Return the training loss in nats per token, and the plain mean cross-entropy of the predicted tokens.

    mixed: matrix products in bfloat16.
    """
    inputs, chosen, expected, weight = (part.to(network.device) for part in targets)
    with torch.autocast(network.device.type, torch.bfloat16, enabled=mixed):
        states = hidden(inputs)
        logits = network.lm_head(states.reshape(-1, states.shape[-1])[chosen])
    entropies = functional.cross_entropy(logits.float(), expected, reduction="none")
    return (entropies * weight).sum(), entropies.mean().item()


def learning_rate(progress: float, step: int, recipe: Recipe) -> float:
    """The factor on the peak learning rate when a share `progress` of the budget is spent."""
    warm = min(1.0, (step + 1) / recipe.warmup_steps)
    if progress < recipe.flat:
        return warm
    decay = 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - recipe.flat) / (1 - recipe.flat))))
    return warm * max(recipe.lowest_lr, decay)


@torch.no_grad()
def validation_loss(
    hidden: Callable[[torch.Tensor], torch.Tensor],
    network: PreTrainedModel,
    kind: str,
    tokenizer: PreTrainedTokenizerFast,
) -> float:
    """Mean training loss over batches of a stream that is never trained on, nats per token."""
    mask_token = tokenizer.convert_tokens_to_ids(MASK)
    total = 0.0
    for number in range(VALIDATION_BATCHES):
        generator = torch.Generator().manual_seed(number)
        tokens = batch(VALIDATION_SEED, number, tokenizer)
        total += loss_of(hidden, network, TARGETS[kind](tokens, mask_token, generator))[0].item()
    return total / VALIDATION_BATCHES


def train(
    kind: str,
    budget: int,
    seed: int,
    out: Path,
    resume: bool = False,
    compiled: bool = True,
    recipe: Recipe | None = None,
    tokens_a_batch: int = TOKENS,
    mixed: bool = False,
) -> dict[str, Any]:
    """Train one model on `budget` tokens, in whole batches, and save it in `out` as a bf16 checkpoint.

    Returns and writes what the model card reports. mixed: see `loss_of`.
    """
    recipe = recipe or Recipe()
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer()
    network = build(kind, tokenizer, recipe, seed).train()
    nn.Module.to(network, "cuda" if torch.cuda.is_available() else "cpu")
    optimizing = optimizers(network, recipe)
    checkpoint, log_path = out / "checkpoint.pt", out / "log.jsonl"
    progress = TrainingProgress()
    if resume and checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        for optimizer, saved in zip(optimizing, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        progress = TrainingProgress(**state["progress"])
    else:
        log_path.unlink(missing_ok=True)
    body = network.model

    def states(inputs: torch.Tensor) -> torch.Tensor:
        return body(input_ids=inputs, use_cache=False).last_hidden_state

    hidden = torch.compile(states, dynamic=False) if compiled else states
    mask_token = tokenizer.convert_tokens_to_ids(MASK)
    peaks = (recipe.adam_lr, recipe.muon_lr)
    losses: list[float] = []
    last_saved = time.monotonic()
    seen_lengths: set[int] = set()
    while progress.tokens < budget:
        tokens = batch(seed, progress.step, tokenizer, tokens_a_batch, games_at(progress.step))
        generator = torch.Generator().manual_seed(seed * 1_000_003 + progress.step)
        started, started_cpu = time.monotonic(), time.process_time()
        factor = learning_rate(progress.tokens / budget, progress.step, recipe)
        for optimizer, peak in zip(optimizing, peaks, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * factor
        loss, _ = loss_of(hidden, network, TARGETS[kind](tokens, mask_token, generator), mixed)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        for optimizer in optimizing:
            optimizer.step()
            optimizer.zero_grad()
        # The first batch of each length is compiled; that is no training time.
        if tokens.shape[1] in seen_lengths:
            progress.seconds += time.monotonic() - started
            progress.cpu_seconds += time.process_time() - started_cpu
        seen_lengths.add(tokens.shape[1])
        progress.step += 1
        progress.tokens += tokens.numel()
        losses.append(loss.item())
        if progress.step % 50 == 0:
            line = {
                "step": progress.step,
                "seconds": round(progress.seconds, 1),
                "tokens": progress.tokens,
                "loss": round(sum(losses) / len(losses), 4),
                "lr": round(factor, 4),
            }
            losses.clear()
            with log_path.open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            print(line, flush=True)
        if time.monotonic() - last_saved >= CHECKPOINT_SECONDS:
            _save_checkpoint(checkpoint, network, optimizing, progress)
            last_saved = time.monotonic()
    network.eval()
    record = {
        "kind": kind,
        "seed": seed,
        "budget": budget,
        "mixed": mixed,
        "recipe": asdict(recipe),
        "batch_tokens": tokens_a_batch,
        **asdict(progress),
        "parameters": network.num_parameters(),
        "vocabulary": len(tokenizer),
        "validation_loss": validation_loss(hidden, network, kind, tokenizer),
        "device": str(network.device),
        "threads": torch.get_num_threads(),
        "environment": environment(),
    }
    export(network, tokenizer, out)
    (out / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    checkpoint.unlink(missing_ok=True)
    return record


def _save_checkpoint(
    path: Path, network: PreTrainedModel, optimizing: list[torch.optim.Optimizer], progress: TrainingProgress
) -> None:
    state = {
        "network": network.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizing],
        "progress": asdict(progress),
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def export(network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write config, bf16 weights (under the authors' names for LLaDA), tokenizer and generation config."""
    nn.Module.to(network, torch.bfloat16)
    config = network.config
    network.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id
    )
    network.save_pretrained(out)
    tokenizer.save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--tokens", type=float, default=20e6, help="budget in tokens, such as 20e6")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves torch's own choice")
    parser.add_argument("--batch-tokens", type=int, default=TOKENS)
    parser.add_argument("--no-compile", action="store_true", help="run without torch.compile")
    parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16: faster with AMX or on a GPU")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    record = train(
        arguments.kind,
        int(arguments.tokens),
        arguments.seed,
        arguments.out,
        arguments.resume,
        not arguments.no_compile,
        tokens_a_batch=arguments.batch_tokens,
        mixed=arguments.bf16,
    )
    print(json.dumps(record))


if __name__ == "__main__":
    main()
