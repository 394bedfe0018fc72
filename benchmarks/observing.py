"""What observing attention costs: a forward with the observer against the bare forward, alternating in one run.

`python -m benchmarks.observing [--length 512] [--rounds 7]`: a random Llama of 98M parameters on the CPU.
"""

import argparse
import statistics
import time
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from analysis import attention, threads


def main() -> None:
    """Prints medians and the ratio of paired rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=512, help="positions (default 512)")
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds of each (default 7)")
    options = parser.parse_args()
    threads.apply()
    torch.manual_seed(0)
    attention.register()
    fields: dict[str, Any] = {
        "vocab_size": 8192,
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": options.length,
        "is_causal": False,
        "attn_implementation": attention.IMPLEMENTATION,
    }
    config = LlamaConfig(**fields)
    network = LlamaForCausalLM(config).eval()
    parameters = sum(weight.numel() for weight in network.parameters())
    tokens = torch.randint(0, config.vocab_size, (1, options.length))
    times: dict[str, list[float]] = {"bare": [], "observed": []}
    with torch.no_grad():
        for counted in range(-1, options.rounds):
            for name in times:
                observer = {"attn_observer": attention.MassObserver()} if name == "observed" else {}
                began = time.perf_counter()
                network(input_ids=tokens, use_cache=False, **observer)
                if counted >= 0:
                    times[name].append(time.perf_counter() - began)
    ratios = [observed / bare for bare, observed in zip(times["bare"], times["observed"], strict=True)]
    print(f"{parameters / 1e6:.0f}M parameters, {options.length} positions, torch {torch.__version__}")
    for name, seconds in times.items():
        print(f"{name:<9} {statistics.median(seconds):.3f} s")
    print(f"observed / bare: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
