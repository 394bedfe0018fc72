"""Claims on models that learnt nothing: how often a verdict reads *holds* with random weights in place of the model.

Each set is a small model of LLaDA's shape and an autoregressive twin, both with random weights of the set's seed, put
to every claim that needs no accuracy, on the bundled prompts: a model that answers at chance has no verdict on these.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.claims.evidence import Found, clusters_of
from analysis.claims.verdicts import HOLDS, HOLDS_WEAKLY, claim_verdicts
from analysis.engine.studies import claim_children, new_claims
from analysis.job_context import SilentContext
from analysis.jobs.claim_measures import measure_claims
from analysis.jobs.recording_sets import record_set
from analysis.recording.set_file import open_set
from analysis.specs import CLAIM_MEASURES, CLAIMS, ClaimMeasuresSpec, ClaimsSpec, ModelSpec, RecordSetSpec
from analysis.words import percent
from benchmarks.honesty.parts import Outcome, Row, Sets, at_most

SEEDS, MOST = 20, 1
_NEED_NO_ACCURACY = tuple(
    name
    for name, claim in CLAIMS.items()
    if "sweep" not in claim.data and not (claim.measure and CLAIM_MEASURES[claim.measure].items)
)
PROMPTS, NULL_PROMPTS, TOKENS = 36, 24, 8
_SIZES: Mapping[str, Mapping[str, Any]] = {
    "bundled": {"d_model": 48, "mlp_hidden_size": 96, "n_heads": 4, "n_kv_heads": 4, "n_layers": 3},
    "bundled-ar": {
        "hidden_size": 48,
        "head_dim": 12,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "num_hidden_layers": 3,
    },
}
"""The small shape of each model of the bundled pair, by fields of its config."""


def held(sets: Sets) -> list[Row]:
    """Count the seeds for which any claim reads *holds*, and those for which any holds at least weakly."""
    outcomes = sets.run(f"{PROMPTS}-prompts", SEEDS, lambda number: one(number, PROMPTS, TOKENS))
    rows = [at_most("any claim holds with random weights", outcomes, "holds", MOST / SEEDS)]
    told = sum(outcome["weakly"] for outcome in outcomes) / len(outcomes)
    return [*rows, Row("any claim holds weakly with random weights", percent(told, 1), "none", True, len(outcomes))]


def one(number: int, prompts: int, tokens: int) -> Outcome:
    """Return whether any claim holds, or holds weakly, for the models of a seed; by claim as well."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sources = {name: drawn(name, folder / name, number) for name in _SIZES}
        spec = new_claims(
            ModelSpec(source=sources["bundled"], device="cpu"),
            reference=ModelSpec(source=sources["bundled-ar"], device="cpu"),
            only=_NEED_NO_ACCURACY,
            count=prompts,
            null_prompts=min(NULL_PROMPTS, prompts),
            gen_length=tokens,
            seed=1000 * (number + 1),  # far from the seed of the model itself
        )
        verdicts = claim_verdicts(spec.claims, measured(spec, folder), "random weights")
    told = {verdict.claim.name: verdict.verdict for verdict in verdicts}
    return {
        "holds": float(HOLDS in told.values()),
        "weakly": float(bool({HOLDS, HOLDS_WEAKLY} & set(told.values()))),
        **{name: float(verdict == HOLDS) for name, verdict in told.items()},
    }


def drawn(name: str, folder: Path, seed: int) -> str:
    """A model of the bundled pair in a small shape with random weights, saved with its tokenizer; its folder."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from analysis.models.checkpoint import find
    from analysis.models.load import register

    register()
    checkpoint = find(name)
    assert checkpoint is not None
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**checkpoint.config, **_SIZES[name], "dtype": "float32"}))
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(checkpoint.folder / file, folder / file)
    return str(folder)


def measured(spec: ClaimsSpec, folder: Path) -> Found:
    """Run the claims without their sweep."""
    found: dict[str, Any] = {}
    for name, children in claim_children(spec).items():
        for child in children:
            place = folder / f"job-{name}"
            place.mkdir()
            if isinstance(child.spec, RecordSetSpec):
                file = record_set(child.spec, SilentContext(place)).file
                assert file is not None
                found["recordings"] = open_set(file)
            elif isinstance(child.spec, ClaimMeasuresSpec):
                found[name] = measure_claims(child.spec, SilentContext(place)).summary
    return Found(spec.random_models, clusters_of(spec), **found)
