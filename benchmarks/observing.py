"""Cost of observing attention: a forward with the observer against the bare forward, alternating in one run.

`python -m benchmarks.observing [--length 512] [--dtype float32] [--rounds 7]`: a random Llama of 98M parameters on the
CPU.
`--quick`: tiny models and one round.
"""

import argparse
import statistics
import time
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from analysis import attention
from analysis.machine import process
from benchmarks.ratios import Ratio, paired

LARGE: dict[str, Any] = {
    "vocab_size": 8192,
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
TINY: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


def main(arguments: list[str] | None = None) -> list[Ratio]:
    """Print medians and the ratio of paired rounds, and return it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=512, help="positions (default 512)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="precision")
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds of each (default 7)")
    parser.add_argument("--quick", action="store_true", help="tiny models and one round: does everything run?")
    options = parser.parse_args(arguments)
    shape = TINY if options.quick else LARGE
    length, rounds = (32, 1) if options.quick else (options.length, options.rounds)
    process.apply()
    process.keep_freed_memory()  # as workers and the command line do
    torch.manual_seed(0)
    attention.register()
    fields: dict[str, Any] = {
        **shape,
        "max_position_embeddings": length,
        "is_causal": False,
        "attn_implementation": attention.IMPLEMENTATION,
    }
    config = LlamaConfig(**fields)
    network = LlamaForCausalLM(config).eval().to(getattr(torch, options.dtype))
    parameters = sum(weight.numel() for weight in network.parameters())
    tokens = torch.randint(0, config.vocab_size, (1, length))
    times: dict[str, list[float]] = {"bare": [], "observed": []}
    with torch.no_grad():
        for counted in range(-1, rounds):
            for name in times:
                observer = {"attn_observer": attention.MassObserver()} if name == "observed" else {}
                began = time.perf_counter()
                network(input_ids=tokens, use_cache=False, **observer)
                if counted >= 0:
                    times[name].append(time.perf_counter() - began)
    what = f"a forward, {options.dtype}, {length} positions"
    ratio = paired(what, "observed / bare", times["observed"], times["bare"])
    print(f"{parameters / 1e6:.0f}M parameters, {options.dtype}, {length} positions, torch {torch.__version__}")
    for name, seconds in times.items():
        print(f"{name:<9} {statistics.median(seconds):.3f} s")
    print(ratio)
    return [ratio]


if __name__ == "__main__":
    main()
