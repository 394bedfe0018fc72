"""Speed of the pages on a large recording: 32 layers × 32 heads × 512 positions × 128 steps.

`python -m benchmarks.pages [--rounds 5]` makes a synthetic recording, opens it in the pages and moves the controls.
It prints the median and largest time of each answer, and the memory of the process.
"""

import argparse
import itertools
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

SHAPE = {"layers": 32, "heads": 32, "positions": 512, "steps": 128}


def synthetic(path: Path, layers: int, heads: int, positions: int, steps: int, seed: int = 0) -> None:
    """Write a recording of random mass with a few strong positions, as float16."""
    from analysis.recording.trajectory import RecordedModel, RecordingInfo, Trajectory
    from analysis.recording.trajectory_file import save
    from analysis.sinks.token_states import mask_states
    from analysis.specs import LLaDASampling

    rng = np.random.default_rng(seed)
    mass = np.empty((steps, layers, heads, positions), np.float16)
    for step in range(steps):
        raw = rng.exponential(1.0, (layers, heads, positions)).astype(np.float32)
        raw[:, :, rng.integers(0, positions, 6)] *= 20
        mass[step] = raw / raw.sum(axis=-1, keepdims=True) * positions
    prompt = positions // 8
    order = np.concatenate([np.zeros(prompt), 1 + np.arange(positions - prompt)])
    undecided = order[None] > np.linspace(0, positions - prompt, steps, endpoint=False)[:, None]
    final = rng.integers(2, 500, positions).astype(np.int32)
    tokens = np.where(undecided, 1, final[None]).astype(np.int32)
    confidence = np.full((steps, positions), np.nan, np.float32)
    model = RecordedModel(
        source="synthetic",
        architecture="synthetic",
        fingerprint="0" * 32,
        dtype="float16",
        device="cpu",
        attention="bidirectional",
        kv_heads=heads,
        mask_token=1,
        end_tokens=(),
    )
    info = RecordingInfo(
        model=model,
        prompt="synthetic",
        prompt_length=prompt,
        chat_template=False,
        sampling=LLaDASampling(gen_length=positions - prompt, steps=steps),
        seed=seed,
        final_text="",
        tokens={token: f"t{token}" for token in range(500)},
        unknown_tokens=0,
        mass_dtype="float16",
        mass_error=0.0,
        seconds=0.0,
        created="",
        environment={},
    )
    norms = rng.exponential(1.0, mass.shape).astype(np.float16)
    state = mask_states(undecided, np.ones_like(undecided), prompt)
    queries, open_block = (np.tile(np.array([start, positions], np.int32), (steps, 1)) for start in (0, prompt))
    save(Trajectory(info, tokens, state, queries, open_block, confidence, mass, norms, final), path)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="moves of each control (default 5)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SINKSCOPE_HOME"] = folder
        run(Path(folder), options.rounds)


def run(folder: Path, rounds: int) -> None:
    """Open the recording in each page and time every control."""
    from streamlit.testing.v1 import AppTest

    from analysis.sinks.metrics import HEAD_METRICS
    from analysis.sinks.token_states import SPLITS
    from analysis.specs import DEFINITIONS
    from pages.parts.session import engine

    file = folder / "large.safetensors"
    synthetic(file, **SHAPE)
    print(f"recording of {file.stat().st_size / 1e6:.0f} MB, {SHAPE}")
    record = engine().add_recording(file)
    root = Path(__file__).parent.parent

    def opened(page: str) -> AppTest:
        test = AppTest.from_file(str(root / "app.py"), default_timeout=120).run()
        test.switch_page(page)
        test.query_params["recording"] = record.id
        began = time.perf_counter()
        test.run()
        print(f"\n{page}: first opening {time.perf_counter() - began:.2f} s")
        assert not test.exception, test.exception
        return test

    def timed(name: str, moves) -> None:
        seconds = []
        for move in moves:
            element = move()
            began = time.perf_counter()
            element.run()
            seconds.append(time.perf_counter() - began)
        assert not test.exception, test.exception
        median, largest = 1000 * statistics.median(seconds), 1000 * max(seconds)
        print(f"{name:<44} median {median:5.0f} ms   largest {largest:5.0f} ms")

    numbers = range(1, rounds + 1)
    # Spread over the range of k, and none asked for shortly before.
    fresh = (round(1.3 * n % 6, 1) for n in itertools.count(1))

    def named(test: AppTest, name: str, values) -> list:
        """Return moves of the explorer, which reach the page through its address."""

        def move(value) -> AppTest:
            test.query_params[name] = str(value)
            return test

        return [lambda value=value: move(value) for value in values]

    def k_moves(test: AppTest) -> list:
        return named(test, "k", itertools.islice(fresh, rounds))

    test = opened("pages/explore.py")
    splits = list(reversed(list(SPLITS)))
    timed("explore: k", k_moves(test))
    timed("heads", [lambda: test.segmented_control(key="tab").set_value("Heads")])
    for metric in HEAD_METRICS:
        timed(f"heads: {metric}", [lambda m=metric: test.selectbox(key="metric").set_value(m)])
        timed(f"heads: k with {metric}", k_moves(test))
    timed("heads: split", named(test, "split", splits))
    test.selectbox(key="metric").set_value("entropy").run()
    timed("heads: chosen steps", [lambda: test.segmented_control(key="heads_view").set_value("Chosen steps")])
    first, *others = DEFINITIONS
    test.segmented_control(key="heads_view").set_value("All steps").run()
    for metric in (name for name, row in HEAD_METRICS.items() if not row.per_step):
        test.selectbox(key="metric").set_value(metric).run()
        timed(f"heads: definitions, {metric}", named(test, "definition", (*others, first)))

    timed("dynamics", [lambda: test.segmented_control(key="tab").set_value("Dynamics")])
    timed("dynamics: k", k_moves(test))
    timed("dynamics: layer", [lambda n=n: test.selectbox(key="scope").set_value(f"layer {n}") for n in numbers])
    timed("dynamics: head", [lambda n=n: test.selectbox(key="scope_head").set_value(f"head {n}") for n in numbers])
    timed("dynamics: split", named(test, "split", splits))
    for view in ("Stable or moving", "Positions"):
        timed(f"dynamics: {view}", [lambda v=view: test.selectbox(key="dynamics_view").set_value(v)])
        timed(f"dynamics: {view}, k", k_moves(test))
        timed(f"dynamics: {view}, split", named(test, "split", splits))
        if view == "Stable or moving":
            timed(f"dynamics: {view}, heads", [lambda: test.segmented_control(key="point").set_value("head")])
            timed(f"dynamics: {view}, k of heads", k_moves(test))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    now = psutil.Process().memory_info().rss
    print(f"\nmemory of the process {now / 1e9:.2f} GB, {peak / 1e9:.2f} GB at most (making the recording included)")
    engine().close()


if __name__ == "__main__":
    main()
