"""A recording of a text written block by block, in which tokens are accepted, taken back and edited.

Made by the collector from the steps of a generator, as those of a sampler are; its attention is drawn at random.
"""

from collections.abc import Iterator

import numpy as np
import torch

from analysis.recording.denoising import Choice, Step
from analysis.recording.trajectory import RecordedModel, RecordingInfo, Trajectory, record
from analysis.sinks.step_inputs import TokenState
from analysis.specs import LLaDASampling

MASK, PROMPT, BLOCK, BLOCKS = 1, 5, 4, 3
LAYERS, HEADS, KV_HEADS = 2, 4, 2
POSITIONS = PROMPT + BLOCK * BLOCKS
# By block, what each step does to the block: position -> (token, whether the sampler may take it back); None undecides.
SCRIPT: tuple[tuple[dict[int, tuple[int, bool] | None], ...], ...] = (
    ({0: (20, False)}, {1: (21, False), 2: (22, False)}, {3: (23, False)}),
    ({0: (24, True), 1: (25, True)}, {0: None, 2: (26, True)}, {0: (27, True), 1: (28, True), 3: (29, True)}),
    ({0: (30, False), 1: (31, False)}, {2: (32, False), 3: (33, False)}, {1: (34, False)}),
)
EDITS = [(5, PROMPT + BLOCK + 1), (8, PROMPT + 2 * BLOCK + 1)]  # (step, position) at which a written token is changed
TAKE_BACKS = [(4, PROMPT + BLOCK)]


def steps(cached: bool, seed: int = 0) -> Iterator[Step]:
    """The script's steps. cached: only the open block's tokens are queries."""
    rng = np.random.default_rng(seed)
    text = np.arange(10, 10 + PROMPT)
    state = np.full(PROMPT, TokenState.GIVEN, np.int8)
    for number, block in enumerate(SCRIPT, start=1):
        start = len(text)
        text = np.concatenate([text, np.full(BLOCK, MASK)])
        state = np.concatenate([state, np.full(BLOCK, TokenState.UNDECIDED, np.int8)])
        for changes in block:
            output, after = text.copy(), state.copy()
            chosen, confidence = np.zeros(len(text), bool), np.full(len(text), np.nan, np.float32)
            for position, written in changes.items():
                at = start + position
                if written is None:
                    output[at], after[at] = MASK, TokenState.UNDECIDED
                    continue
                token, may_go = written
                output[at], after[at] = token, TokenState.ACCEPTED if may_go else TokenState.COMMITTED
                chosen[at], confidence[at] = True, rng.uniform(0.3, 1)
            queries = BLOCK if cached else len(text)
            mass = rng.pareto(1.5, (1, LAYERS, HEADS, len(text))) + 0.01
            mass *= queries / mass.sum(-1, keepdims=True)
            choice = Choice(
                torch.from_numpy(text)[None],
                torch.from_numpy(state)[None],
                torch.from_numpy(chosen)[None],
                torch.from_numpy(confidence)[None],
                torch.from_numpy(output)[None],
                (start, len(text)),
                number,
                len(SCRIPT),
                (start, len(text)) if cached else None,
            )
            norms = rng.uniform(0.5, 2, (1, LAYERS, KV_HEADS, len(text)))
            yield Step(choice, torch.from_numpy(mass).float(), torch.from_numpy(norms).float())
            text, state = output, after
        state[start:] = TokenState.COMMITTED


def block_trajectory(cached: bool = False, planned: int = 4) -> Trajectory:
    """The recording of the script. planned: how many steps the collector is told to expect."""
    arrays = record(steps(cached), planned, POSITIONS)
    model = RecordedModel(
        source="scripted",
        architecture="scripted",
        fingerprint="0" * 32,
        dtype="float32",
        device="cpu",
        attention="block-causal",
        kv_heads=KV_HEADS,
        mask_token=MASK,
        end_tokens=(),
    )
    info = RecordingInfo(
        model=model,
        prompt="w10 w11",
        prompt_length=PROMPT,
        block_starts=(0, *range(PROMPT, POSITIONS, BLOCK)),
        chat_template=False,
        sampling=LLaDASampling(gen_length=BLOCK * BLOCKS, steps=9, block_length=BLOCK),
        seed=0,
        final_text="",
        tokens={token: "[MASK]" if token == MASK else f"w{token}" for token in range(64)},
        unknown_tokens=0,
        mass_dtype=arrays.pop("mass_dtype"),
        mass_error=arrays.pop("mass_error"),
        seconds=0.0,
        created="",
        environment={},
    )
    return Trajectory(info, **arrays)
