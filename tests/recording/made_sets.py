"""A set of recordings made of random numbers, in which nothing differs from its nulls."""

from typing import Literal

import numpy as np

from analysis.recording.set_file import SHAPES, RecordingSet, RecordingSetInfo, SetPrompt
from analysis.recording.trajectory import RecordedModel
from analysis.sinks.definitions import KINDS
from analysis.sinks.layer_run import PARTS, SPLIT_CURVES, VARIANTS
from analysis.sinks.metrics import CURVES, of_mass
from analysis.sinks.movement import COINCIDENCES, WEIGHT_NULLS
from analysis.specs import LLaDASampling, SinkParams

STEPS, LAYERS = 6, 4


def a_set(
    seed: int,
    models: int = 3,
    prompts: int = 40,
    noise: Literal["mask", "uniform"] = "mask",
    keys: int = 0,
    attention: Literal["bidirectional", "causal"] = "bidirectional",
) -> RecordingSet:
    """keys: of how many templates the prompts are, which takes turns; 0 for one each."""
    rng = np.random.default_rng(seed)
    sizes = {"N": prompts, "R": models, "G": LAYERS + 1, "K": len(KINDS), "C": len(COINCIDENCES), "M": len(CURVES)}
    sizes |= {
        "T": STEPS,
        "D": len(SPLIT_CURVES),
        "P": len(PARTS),
        "A": len(of_mass()),
        "L": LAYERS,
        "H": 1,
        "V": len(VARIANTS),
    }
    arrays = {}
    for name, letters in SHAPES.items():
        values = rng.gamma(20, 0.2, size=tuple(sizes[letter] for letter in letters))
        constant = {"steps": STEPS, "pairs": STEPS - 1, "changes": 50, "tokens": 30, "alive": 10}
        constant |= {"gap_steps": STEPS, "iid_gap_steps": STEPS, "half_steps": STEPS // 2}
        measure = name.split(".")[1]
        if measure in constant:
            values = np.full_like(values, constant[measure])
        arrays[name] = values.astype(np.uint16 if measure == "counts" else np.float64)
    info = RecordingSetInfo(
        model=RecordedModel(
            source="made",
            architecture="made",
            fingerprint="0",
            dtype="float32",
            device="cpu",
            attention=attention,
            kv_heads=1,
            noise=noise,
            mask_token=1 if noise == "mask" else None,
            end_tokens=(3,),
        ),
        layers=LAYERS,
        heads=1,
        prompts_from="own",
        prompts=tuple(
            SetPrompt(
                text=f"prompt {number}",
                tokens=4,
                steps=STEPS,
                written="text",
                key=f"template {number % keys}" if keys else "",
            )
            for number in range(prompts)
        ),
        chat_template=False,
        sampling=LLaDASampling(),
        seed=0,
        sinks=SinkParams(),
        random_seeds=tuple(range(1, models + 1)),
        weight_seeds={null: tuple(range(1, models + 1)) for null in WEIGHT_NULLS if null != "random"},
        null_draws=1,
        parts=PARTS,
        split_curves=SPLIT_CURVES,
        head_metrics=of_mass(),
        variants=tuple(VARIANTS),
        by_query=True,
        half_tokens=3,
        batch_bytes=1,
        seconds=1.0,
        created="2026-01-01T00:00:00+00:00",
        environment={},
    )
    return RecordingSet(info, arrays)
