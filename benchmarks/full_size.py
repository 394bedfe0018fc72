"""A dress rehearsal at full size: `python -m benchmarks.full_size --folder FOLDER`, on the CPU, with random weights.

Makes a checkpoint of LLaDA-8B's shapes in bfloat16 (16 GB in shards) and runs the commands that a user would, one after
the other, each in a process of its own: `models`, `record` (8 new tokens in 4 steps), `prune --streaming always` with
sink-wanda, `inspect` of the result, and reading its masks as the page Runs does. Prints a table of the peak memory,
disk and time of each, of time in the system and page faults, and beside them what the estimates said.

Needs 36 GB of disk and 20 GB of memory. `--quick`: the same with a tiny model, to see that everything runs.
`--keep`: leaves the checkpoint, which the next run takes.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from analysis.job_context import SilentContext
from analysis.machine import process as threads
from analysis.machine.speed import measured_speed
from analysis.models.checkpoint import find
from analysis.models.registry import BUNDLED, Model
from analysis.pruned.masks_file import open_masks
from analysis.pruning.saving import CheckpointWriter
from analysis.recording.fits import known_size, memory_needed, recording_seconds
from analysis.specs import CalibrationParams, EstimateSpec, ModelSpec, PruneSpec
from benchmarks.gpu import LARGE, TINY
from cache.environment import gigabytes
from cache.stores import Stores

SHARD = 10**9  # bytes
NEW_TOKENS, STEPS = 8, 4
CALIBRATION: dict[str, Any] = {"samples": 2, "seq_len": 64, "diffusion_steps": 50, "step_interval": 5}
PROMPT = "It was a sunny day, and Sue was at the river."


@dataclass(frozen=True)
class Run:
    """Resources that a process took. peak: bytes of resident memory. faults: pages mapped without reading. disk: bytes
    written. memory_said, seconds_said: by the estimate beforehand, None where there is none.
    """

    what: str
    seconds: float
    user: float
    system: float
    peak: int
    faults: int
    disk: int
    memory_said: float | None = None
    seconds_said: float | None = None


def make_checkpoint(folder: Path, sizes: dict[str, int]) -> None:
    """Write a random bfloat16 LLaDA of these sizes under the authors' names, layer by layer, in shards."""
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    writer = CheckpointWriter(folder, SHARD)

    def put(name: str, *shape: int) -> None:
        writer.add(name, torch.empty(shape, dtype=torch.bfloat16).normal_(0, 0.02, generator=generator))

    width, inner, words = sizes["d_model"], sizes["mlp_hidden_size"], sizes["vocab_size"]
    put("model.transformer.wte.weight", words, width)
    for layer in range(sizes["n_layers"]):
        here = f"model.transformer.blocks.{layer}"
        for name in ("q_proj", "k_proj", "v_proj", "attn_out"):
            put(f"{here}.{name}.weight", width, width)
        for name in ("ff_proj", "up_proj"):
            put(f"{here}.{name}.weight", inner, width)
        put(f"{here}.ff_out.weight", width, inner)
        for name in ("attn_norm", "ff_norm"):
            writer.add(f"{here}.{name}.weight", torch.ones(width, dtype=torch.bfloat16))
    writer.add("model.transformer.ln_f.weight", torch.ones(width, dtype=torch.bfloat16))
    put("model.transformer.ff_out.weight", words, width)
    writer.finish()
    config: dict[str, Any] = {"model_type": "llada", "architectures": ["LLaDAModelLM"], "torch_dtype": "bfloat16"}
    config |= sizes | {"n_kv_heads": sizes["n_heads"], "block_type": "llama", "mask_token_id": words - 1}
    config |= {"embedding_size": words, "weight_tying": False, "eos_token_id": words - 2, "pad_token_id": words - 2}
    (folder / "config.json").write_text(json.dumps(config))
    for file in (BUNDLED / "diffusion").glob("tokenizer*.json"):
        shutil.copy(file, folder)


def measured(what: str, command: list[str], folder: Path, said: tuple[float, float] | None = None) -> Run:
    """Run a command in a process of its own, and read what the system counted. folder: its growth is the command's
    disk.

    Raises SystemExit with the end of the command's output where it fails.
    """
    before, began = _size(folder), time.perf_counter()
    log = folder / "log"
    with log.open("wb") as output:
        environment = {**os.environ, "SINKSCOPE_HOME": str(folder / "store"), "HF_HUB_OFFLINE": "1"}
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{what} failed ({process.returncode}):\n{log.read_text(errors='replace')[-2000:]}")
    log.unlink()
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    memory, expected = said or (None, None)
    disk = max(0, _size(folder) - before)
    return Run(what, seconds, used.ru_utime, used.ru_stime, peak, used.ru_minflt, disk, memory, expected)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def record_said(checkpoint: Path) -> tuple[float, float]:
    """Return the bytes and seconds that the offer of a model states for this recording."""
    model = Model(str(checkpoint), str(checkpoint), "", sampling=(("gen_length", NEW_TOKENS), ("steps", STEPS)))
    size, _ = known_size(model)
    speed = measured_speed("cpu", "bfloat16")
    assert size is not None
    assert speed is not None
    return memory_needed(size, 2, model), recording_seconds(size, model, "bfloat16", speed)


def prune_said(checkpoint: Path, folder: Path) -> tuple[float, float]:
    """Return the bytes that the estimate of this pruning states, with the embedding and this process, and seconds."""
    from analysis.jobs.pruning import estimate

    calibration = CalibrationParams(data="bundled", **CALIBRATION)
    asked = PruneSpec(
        model=ModelSpec(source=str(checkpoint), device="cpu", dtype="bfloat16"),
        method="sink-wanda",
        calibration=calibration,
        streaming="always",
    )
    context = SilentContext(folder, Stores(folder / "store"))
    before = psutil.Process().memory_info().rss
    summary = estimate(EstimateSpec.of(asked), context).summary
    found = find(str(checkpoint))
    assert found is not None
    outside = 2 * found.geometry.vocabulary * found.geometry.hidden + before
    return summary["memory_bytes"] + outside, summary["total_seconds"]


def count_masks(folder: str) -> None:
    """Read every mask of a pruned folder, one at a time as the page Runs does, and print how much is gone."""
    masks = open_masks(folder)
    gone = total = 0
    for key in sorted(masks.weights):
        pruned = masks.pruned(*key)
        gone, total = gone + int(pruned.sum()), total + pruned.size
    print(f"{gone:,} of {total:,} weights removed")


def rehearse(folder: Path, quick: bool, say: Callable[[str], None] = print) -> list[Run]:
    """Run all of it. Leaves the checkpoint in `folder / "checkpoint"`."""
    checkpoint, pruned = folder / "checkpoint", folder / "pruned"
    if not checkpoint.is_dir():
        say("making the checkpoint")
        make_checkpoint(checkpoint, TINY if quick else LARGE)
    python = [sys.executable, "-m"]
    source = ["--model", str(checkpoint), "--device", "cpu", "--dtype", "bfloat16"]
    sampling = ["--gen-length", str(NEW_TOKENS), "--steps", str(STEPS)]
    calibration = [part for name, value in CALIBRATION.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    runs = []

    def run(what: str, command: list[str], said: tuple[float, float] | None = None) -> None:
        say(what)
        runs.append(measured(what, command, folder, said))

    run("models", [*python, "analysis", "models", "--dtype", "bfloat16"])
    out = ["--out", str(folder / "recording.safetensors")]
    run(
        "record", [*python, "analysis", "record", *source, "--prompt", PROMPT, *sampling, *out], record_said(checkpoint)
    )
    say("estimating the pruning")
    said = prune_said(checkpoint, folder)
    method = ["--method", "sink-wanda", "--streaming", "always", "--calibration", "bundled", *calibration]
    run("prune, streamed", [*python, "analysis", "prune", *source, *method, "--out", str(pruned)], said)
    run("reading its masks", [*python, "benchmarks.full_size", "--count-masks", str(pruned)])
    copy = ["--model", str(pruned), *source[2:], "--prompts", "bundled", "--prompt-count", "1", *sampling]
    insights = ["--insights", "channels,lens", "--random-models", "0", "--out", str(folder / "inspected")]
    run("inspect, pruned", [*python, "analysis", "inspect", *copy, *insights])
    return runs


def table(runs: list[Run]) -> str:
    """Return the runs as Markdown."""
    lines = [
        "| what | peak memory | estimate | seconds | estimate | user s | system s | page faults | disk |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for run in runs:
        memory = "" if run.memory_said is None else f"{gigabytes(run.memory_said)} (× {run.peak / run.memory_said:.2f})"
        seconds = "" if run.seconds_said is None else f"{run.seconds_said:.0f} (× {run.seconds / run.seconds_said:.2f})"
        cells = [run.what, gigabytes(run.peak), memory, f"{run.seconds:.1f}", seconds]
        cells += [f"{run.user:.0f}", f"{run.system:.0f}", f"{run.faults:,}", gigabytes(run.disk)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Run the rehearsal and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="an empty folder on a disk with room for twice the checkpoint")
    parser.add_argument("--quick", action="store_true", help="a tiny model: does everything run?")
    parser.add_argument("--keep", action="store_true", help="leave the checkpoint for the next run")
    parser.add_argument("--count-masks", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    threads.apply()
    if options.count_masks:
        count_masks(options.count_masks)
        return
    if options.folder is None:
        parser.error("name a folder with --folder")
    options.folder.mkdir(parents=True, exist_ok=True)
    others = [path.name for path in options.folder.iterdir() if path.name != "checkpoint"]
    if others:
        parser.error(
            f"'{options.folder}' holds '{others[0]}', and what is in it is removed at the end: name an empty folder"
        )
    need = 0 if options.quick else 36 * 10**9 - _size(options.folder)
    free = shutil.disk_usage(options.folder).free
    if free < need:
        parser.error(f"the disk of '{options.folder}' has {gigabytes(free)} free, and {gigabytes(need)} are needed")
    try:
        print(table(rehearse(options.folder, options.quick, lambda what: print(what, file=sys.stderr, flush=True))))
    finally:
        for path in options.folder.iterdir():
            if path.name == "checkpoint" and options.keep:
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    main()
