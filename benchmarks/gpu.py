"""Cost of a large model on one GPU: `python -m benchmarks.gpu`, for one card of 80 GB.

A random checkpoint in the shape of LLaDA-8B is made on the device. Then: the observed forward against the bare one at
512, 1,024 and 4,096 positions, a recording of 64 steps, feature scores of sink-wanda beside the published procedure, a
pruning, and the same streamed through a device that has 24 GB, as a table in Markdown. `--device cpu --quick`: tiny
models, to see that everything runs; its seconds say nothing.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analysis import attention
from analysis.calibration.activations import feature_scores
from analysis.calibration.noise import noised_sequences
from analysis.calibration.runners import Resident
from analysis.job_context import SilentContext
from analysis.jobs import JOBS
from analysis.machine import process
from analysis.models.load import load, register
from analysis.models.loaded import LoadedModel
from analysis.models.native_code import LLaDAConfig, LLaDAModelLM
from analysis.specs import CalibrationParams, DiscountParams, LLaDASampling, ModelSpec, PruneSpec, RecordSpec
from benchmarks import published
from cache.stores import Stores

LARGE = {"d_model": 4096, "n_layers": 32, "n_heads": 32, "mlp_hidden_size": 12288, "vocab_size": 126464}
TINY = {"d_model": 64, "n_layers": 2, "n_heads": 4, "mlp_hidden_size": 160, "vocab_size": 8192}
GOAL = 1.15  # observed forward / bare forward
STREAMED = 24e9  # bytes of the device for the streamed pruning
ROWS = (
    "weights",
    "bare forward, {0} positions",
    "observed / bare, {0} positions",
    "bare forward, {1} positions",
    "observed / bare, {1} positions",
    "bare forward, {2} positions",
    "observed / bare, {2} positions",
    "recording of {3} steps",
    "feature scores: published / one forward",
    "feature scores: published / two passes",
    "peak of one forward / of the published procedure",
    "pruning with sink-wanda",
    "… its peak on the device",
    "… streamed through 24 GB",
    "… its peak on the device, streamed",
)
"""The rows of the table, in the order in which they are measured."""


class Card:
    """The device that is measured."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.cuda = device == "cuda"

    def seconds(self, work: Callable[[], Any]) -> float:
        """Wall time until the device is done."""
        self._wait()
        began = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - began

    def peak(self, work: Callable[[], Any]) -> float:
        """Bytes allocated at most while it worked, the model included; not a number without CUDA."""
        if not self.cuda:
            work()
            return float("nan")
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        work()
        return float(torch.cuda.max_memory_allocated())

    def bound(self, size: float) -> None:
        """Limit the process to so many bytes of the device."""
        if self.cuda:
            torch.cuda.empty_cache()
            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, size / total))

    def _wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def __str__(self) -> str:
        return torch.cuda.get_device_name(0) if self.cuda else "CPU"


def main(arguments: list[str] | None = None) -> None:
    """Print the table. Exits with a sentence where there is no GPU and none was left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds of each forward (default 5)")
    parser.add_argument("--quick", action="store_true", help="tiny models and one round: does everything run?")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("No CUDA device is here. See that the code runs with --device cpu --quick.")
    process.apply()
    attention.register()
    shape = TINY if options.quick else LARGE
    lengths = (16, 32, 64) if options.quick else (512, 1024, 4096)
    steps, rounds = (8, 1) if options.quick else (64, options.rounds)
    card = Card(options.device)
    with tempfile.TemporaryDirectory() as folder:
        cells = measured(card, Path(folder), shape, lengths, steps, rounds)
    print(f"\n{card}, torch {torch.__version__}, {rounds} rounds, medians of paired rounds.\n")
    print("| what | measured |\n| --- | --- |")
    for row, cell in zip(ROWS, cells, strict=True):
        print(f"| {row.format(*lengths, steps)} | {cell} |")


def measured(
    card: Card, folder: Path, shape: dict[str, Any], lengths: tuple[int, int, int], steps: int, rounds: int
) -> list[str]:
    """The cells of the table, in the order of `ROWS`."""
    source = str(made(card, folder / "model", shape, max(lengths)))
    spec = ModelSpec.model_validate({"source": source, "device": card.device})
    model = load(spec)
    weights = sum(weight.numel() * weight.element_size() for weight in model.network.parameters())
    cells = [f"{weights / 1e9:.2f} GB, {model.dtype}"]
    for length in lengths:
        cells += forwards(card, model, length, rounds)
    cells += scores(card, model, lengths[0], rounds)
    del model
    cells.insert(-3, recorded(card, spec, folder, steps))
    for streaming in (False, True):
        if streaming:
            card.bound(STREAMED)
        cells += pruned(card, spec, folder, lengths[0], streaming)
    return cells


def made(card: Card, folder: Path, shape: dict[str, Any], length: int) -> Path:
    """A random checkpoint of this shape, with the bundled tokenizer's words where it has so many."""
    from analysis.models.checkpoint import find
    from analysis.models.tokenizer import load_tokenizer

    register()
    torch.manual_seed(0)
    config = LLaDAConfig(
        **shape, max_sequence_length=length, pad_token_id=0, eos_token_id=1, mask_token_id=shape["vocab_size"] - 1
    )
    with torch.device(card.device):
        network = LLaDAModelLM(config).to(getattr(torch, "bfloat16" if card.cuda else "float32"))
    network.save_pretrained(folder)
    bundled = find("bundled")
    assert bundled is not None
    tokenizer = load_tokenizer(bundled.folder)
    assert tokenizer is not None
    tokenizer.save_pretrained(folder)
    return folder


def forwards(card: Card, model: LoadedModel, length: int, rounds: int) -> list[str]:
    """A bare forward, and what the observer makes of it."""
    tokens = torch.randint(2, model.geometry.vocabulary - 1, (1, length), device=model.device)

    def forward(**observer: Any) -> None:
        with torch.no_grad():
            model.network(input_ids=tokens, use_cache=False, **observer)

    bare, ratios = [], []
    for counted in range(-1, rounds):
        seconds = card.seconds(forward)
        observed = card.seconds(lambda: forward(attn_observer=attention.MassObserver()))
        if counted >= 0:
            bare.append(seconds)
            ratios.append(observed / seconds)
    ratio = statistics.median(ratios)
    verdict = "" if ratio <= GOAL else f", above the goal of {GOAL}"
    return [
        f"{statistics.median(bare) * 1000:.1f} ms",
        f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f}){verdict}",
    ]


def scores(card: Card, model: LoadedModel, length: int, rounds: int) -> list[str]:
    """Feature scores of two noised sequences: the published procedure against ours. Masks must agree."""
    clean = np.random.default_rng(0).integers(2, model.geometry.vocabulary - 1, (2, length))
    noised = noised_sequences(clean, CalibrationParams(step_interval=30), model.mask_token or 0)
    assert noised is not None
    discount, runner = DiscountParams(), Resident(model)
    ways: dict[str, Callable[[], Any]] = {
        "published": lambda: published.feature_scores(model, noised, discount),
        "one forward": lambda: feature_scores(runner, noised, discount, 2**62),
        "two passes": lambda: feature_scores(runner, noised, discount, 0),
    }
    peaks = {name: card.peak(way) for name, way in ways.items()}
    times = {name: [card.seconds(way) for _ in range(rounds)] for name, way in ways.items()}
    ratios = {name: statistics.median(times["published"]) / statistics.median(times[name]) for name in times}
    return [
        f"{ratios['one forward']:.2f}",
        f"{ratios['two passes']:.2f}",
        f"{peaks['one forward'] / peaks['published']:.2f}" if card.cuda else "–",
    ]


def recorded(card: Card, spec: ModelSpec, folder: Path, steps: int) -> str:
    """A recording as the page asks for it."""
    sampling = LLaDASampling(gen_length=steps, steps=steps)
    asked = RecordSpec(model=spec, prompt="one day ben goes to the zoo .", sampling=sampling, chat_template="off")
    run = JOBS["record"].run
    assert run is not None
    return f"{card.seconds(lambda: run(asked, context(folder, 'recording'))):.1f} s, loading included"


def pruned(card: Card, spec: ModelSpec, folder: Path, length: int, streaming: bool) -> list[str]:
    """A pruning of all layers: seconds, and the most it held on the device."""
    name = "streamed" if streaming else "resident"
    asked = PruneSpec.model_validate(
        {
            "model": spec,
            "method": "sink-wanda",
            "out": str(folder / f"pruned-{name}"),
            "calibration": {"samples": 4, "seq_len": length, "step_interval": 25},
            "streaming": "always" if streaming else "auto",
        }
    )
    run, seconds = JOBS["prune"].run, [0.0]
    assert run is not None

    def work() -> None:
        seconds[0] = card.seconds(lambda: run(asked, context(folder, name)))

    peak = card.peak(work)
    return [f"{seconds[0]:.1f} s, 4 sequences at 2 levels", f"{peak / 1e9:.1f} GB" if card.cuda else "–"]


def context(folder: Path, name: str) -> SilentContext:
    """A context with a folder and a store of its own, so that nothing is read in place of being computed."""
    place = folder / f"work-{name}"
    place.mkdir()
    return SilentContext(place, Stores(place / "home"))


if __name__ == "__main__":
    main()
