"""Measures the bundled pair and writes its model cards.

    python -m training.report measure --model diffusion
    python -m training.report measure --model autoregressive
    python -m training.report measure --model diffusion --pair FOLDER
    python -m training.report write

`measure` keeps its numbers in measurements.json beside the weights, with `--sinks` those of the sinks anew and all
others as they are. With `--pair` it measures a pair trained from another seed, whose weights do not ship, and keeps
the numbers in training/readings. `write` makes README.md of each folder from all of them.
"""

import argparse
import json
import sys
from pathlib import Path

from analysis.bundled.heldout import ONE_IN
from analysis.bundled.world import PEOPLE
from analysis.job_context import environment
from analysis.models.registry import BUNDLED
from analysis.sinks.movement import MOVEMENT_NULLS
from training.readings import (
    FOLDERS,
    KINDS,
    MEASUREMENTS,
    READINGS,
    TRAINING,
    WEIGHTS,
    Numbers,
    digest,
    number,
    percent,
    points,
    read,
    table,
    trainings,
)
from training.stream import GAMES_ALONE, GAMES_UNTIL, LENGTHS
from training.tasks import TASKS
from training.verdicts import VARIANCE, beyond_table, trainings_table, verdict_lines

_OTHER = {"diffusion": "autoregressive", "autoregressive": "diffusion"}
_TITLES = {"diffusion": "The bundled diffusion model", "autoregressive": "The bundled autoregressive twin"}
ENOUGH_CLUSTERS = 300  # effective, that a task should have


def run_measurements(kind: str, split: str, limit: int | None, pair: Path = BUNDLED) -> None:
    """Measure one model of a pair. Write the numbers beside its weights, or, of a pair that does not ship, with how it
    was trained into `READINGS`.
    """
    from analysis.models.load import load
    from analysis.specs import ModelSpec
    from training import measure

    model = load(ModelSpec(source=str(pair / kind), device="cpu"))
    result = measure.measure(model, split, limit, lambda line: print(line, file=sys.stderr, flush=True))
    weights = digest(pair / kind / WEIGHTS)
    result = {"weights": weights, "dtype": model.dtype, "environment": environment(), **result}
    folder = FOLDERS[kind]
    if pair != BUNDLED:
        training = json.loads((pair / kind / TRAINING).read_text(encoding="utf-8"))
        folder = READINGS / f"seed-{training['seed']}" / kind
        measure.save(training, folder / TRAINING)
    measure.save(result, folder / MEASUREMENTS)


def measure_sinks(kind: str) -> None:
    """Measure the sinks of one model anew. Raises FileNotFoundError where nothing else was measured of its weights."""
    from analysis.models.load import load
    from analysis.specs import ModelSpec
    from training import measure

    stored = read(kind, MEASUREMENTS)
    if stored is None or stored["weights"] != digest(FOLDERS[kind] / WEIGHTS):
        raise FileNotFoundError(f"{FOLDERS[kind]} lacks {MEASUREMENTS} of its weights: measure all of it first")
    model = load(ModelSpec(source=str(FOLDERS[kind]), device="cpu"))
    sinks = measure.sink_statistics(model, lambda line: print(line, file=sys.stderr, flush=True))
    measure.save(stored | {"sinks": sinks}, FOLDERS[kind] / MEASUREMENTS)


def _training(kind: str, training: Numbers, size: int) -> str:
    recipe, machine = training["recipe"], training["environment"]["hardware"]
    loss = "bound on the negative log-likelihood" if kind == "diffusion" else "negative log-likelihood"
    objective = (
        "LLaDA's masked-diffusion loss: l ~ U{1..S} of a row's S tokens are masked and weighted S/l"
        if kind == "diffusion"
        else "next-token cross-entropy under a causal mask"
    )
    rows = [
        ["parameters", f"{training['parameters']:,}"],
        [
            "shape",
            f"{recipe['layers']} layers, {recipe['heads']} heads, hidden {recipe['hidden']}, "
            f"MLP {recipe['mlp']}, vocabulary {training['vocabulary']:,}, at most 256 tokens",
        ],
        ["weights", f"bf16, {size / 1e6:.1f} MB"],
        ["objective", objective],
        [
            "optimizers",
            f"Muon (lr {recipe['muon_lr']}) on v, o and MLP; AdamW (lr {recipe['adam_lr']}) on the rest; "
            f"flat for {recipe['flat']:.0%} of the budget, then cosine",
        ],
        ["batches", f"{training['batch_tokens']:,} tokens in rows of {', '.join(map(str, sorted(set(LENGTHS))))}"],
        ["steps, tokens", f"{training['step']:,} steps, {training['tokens'] / 1e6:.1f} M tokens"],
        [
            "time",
            f"{training['seconds'] / 60:.1f} minutes on {machine['cores']} CPU cores ({machine['system']}), "
            f"{training['threads']} thread(s); device {training['device']}; other work shared the machine; "
            f"{training['cpu_seconds'] / training['threads'] / 60:.1f} minutes of processor time a thread",
        ],
        ["precision", "matrix products in bfloat16, all else in float32" if training["mixed"] else "float32"],
        ["seed", str(training["seed"])],
        ["final loss", f"{training['validation_loss']:.3f} nats per token ({loss}), on an untrained stream"],
        ["versions", ", ".join(f"{name} {version}" for name, version in training["environment"]["versions"].items())],
    ]
    return table(["", ""], rows)


def _budget(kind: str) -> str:
    """Compare the two runs: the same stream of batches, and how much of it each was given."""
    training, twin = read(kind, TRAINING), read(_OTHER[kind], TRAINING)
    text = f"Its twin, the {_OTHER[kind]} model, has the same blocks and the same stream of batches"
    if training is None or twin is None:
        return f"{text}."
    return (
        f"{text}. This model was given {training['tokens'] / 1e6:.1f} M tokens in {training['step']:,} batches, "
        f"the twin {twin['tokens'] / 1e6:.1f} M in {twin['step']:,}."
    )


def _names(measured: Numbers, kind: str) -> str:
    """Say how well the model copies a name it has seen."""
    names = measured["names"]
    seen = "everything else" if kind == "diffusion" else "what is to its left"
    return (
        f"Where a character is named again, the model sees {seen} and gives the right name a probability of "
        f"{number(names['right'])}, all {len(PEOPLE)} names together {number(names['names'])}; were they all alike, "
        f"the right one would get {names['uniform']:.3f} ({names['texts']} training documents, cut at 64 tokens)."
    )


def _dense(measured: Numbers) -> str:
    dense = measured["pruning"]["rows"][0]
    items, problems = measured["pruning"]["items"], measured["problems"]
    clusters = measured["pruning"]["effective_clusters"]
    rows = [
        [
            task,
            str(items[task]),
            f"{clusters[task]:.0f}",
            f"{100 / TASKS[task].choices:.0f}",
            percent(dense["tasks"][task]),
        ]
        for task in TASKS
    ]
    rows.append(["**mean**", "", "", "", f"**{percent(dense['mean'])}**"])
    rows.append(["problems (written answer)", str(problems["items"]), "", "", percent(problems["share"])])
    return table(["task", "items", "effective clusters", "chance", "accuracy % (95 % interval)"], rows)


def _few_clusters(measured: Numbers) -> str:
    """Name the tasks that are short of combinations, and say what that means."""
    few = {task: value for task, value in measured["pruning"]["effective_clusters"].items() if value < ENOUGH_CLUSTERS}
    if not few:
        return ""
    listed = " and ".join(f"`{task}` ({value:.0f})" for task, value in few.items())
    return (
        f" The world has too few held-out combinations for {ENOUGH_CLUSTERS} effective clusters in {listed}: what can "
        "be learned there about a model ends with them, however many items there are."
    )


def _curve(measured: Numbers) -> str:
    rows = [
        [
            row["method"],
            f"{row['sparsity']:.0%}",
            percent(row["mean"]),
            f"{row['loss']:.3f}",
            *(f"{100 * row['tasks'][task][0]:.1f}" for task in TASKS),
        ]
        for row in measured["pruning"]["rows"]
    ]
    return table(["method", "sparsity", "mean accuracy %", "loss", *TASKS], rows)


def _differences(measured: Numbers) -> str:
    rows = [[f"{row['sparsity']:.0%}", points(row["magnitude - wanda"])] for row in measured["pruning"]["differences"]]
    return table(["sparsity", "magnitude − Wanda, points of mean accuracy"], rows)


_SCOPE_COLUMNS = {
    "count": ("sinks per step", 2),
    "corrected-share": ("corrected share of a sink", 2),
    "strength": ("attention to the sinks", 3),
    "life": ("life of a sink (steps)", 1),
}
_MOVES = {
    "change": ("RMS change of the corrected share per step", 3),
    "births": ("births per step", 3),
    "deaths": ("deaths per step", 3),
    "births-written": ("births that coincide with the token being written", 2),
    "deaths-written": ("deaths that coincide with the token being written", 2),
    VARIANCE: ("temporal variance of the centroid c/S", 4),
}
LEAST_PORTION = 0.1  # of a layer's sinks, for a kind to be named


def _sinks(measured: Numbers) -> str:
    """Tabulate where the sinks are: a row for each layer, and one for all together."""
    rows = []
    for scope, name in enumerate(measured["scopes"]):
        portions = [(portion or [0.0])[0] for portion in measured["portions"][scope]]
        named = sorted(zip(portions, measured["kinds"], strict=True), reverse=True)
        kinds = ", ".join(f"{kind} {portion:.0%}" for portion, kind in named if portion >= LEAST_PORTION)
        row = [name, kinds or "–"]
        for measure, (_, digits) in _SCOPE_COLUMNS.items():
            row.append(number(measured["by_scope"][measure]["trained"][scope], digits))
        row.append(number(measured["by_scope"]["corrected-share"]["random"][scope], 2))
        rows.append(row)
    titles = [title for title, _ in _SCOPE_COLUMNS.values()]
    return table(["", "which tokens", *titles, "corrected share, random weights"], rows)


def _moves(measured: Numbers) -> str:
    """Tabulate how the sinks of all layers together move, beside the nulls."""
    nulls = [name for name in next(iter(measured["moves"].values())) if name != "trained"]
    rows = [
        [title, *(number(measured["moves"][name][which][-1], digits) for which in ("trained", *nulls))]
        for name, (title, digits) in _MOVES.items()
    ]
    return table(["", "observed", *(MOVEMENT_NULLS[name].title for name in nulls)], rows)


def _said(measured: Numbers) -> str:
    """List what lies beyond the nulls, a line each."""
    return "\n".join(f"- {sentence}" for sentence in measured["words"] or ["Nothing lies beyond its nulls."])


# --- the cards --------------------------------------------------------------------------------------------------


def _other_trainings(kind: str) -> str:
    """The readings of all trainings side by side; nothing where there is one."""
    if len(trainings()) < 2:
        return ""
    return f"""## Other trainings

One training is a sample of one. The pair was trained again from other seeds of initialization and of the training
text; only seed 0 ships, and these are the readings of all. Intervals cover the items or the prompts; the columns show
what the training seed adds.

{trainings_table(kind)}

{beyond_table(kind)}

"""


def card(kind: str) -> str:
    """The model card of one model, from the numbers kept beside both."""
    training, measured = read(kind, TRAINING), read(kind, MEASUREMENTS)
    if training is None or measured is None:
        raise FileNotFoundError(f"{FOLDERS[kind]} lacks {TRAINING} or {MEASUREMENTS}: train and measure it first")
    size = sum(path.stat().st_size for path in FOLDERS[kind].glob("*.safetensors"))
    sampled, pruning = measured["sinks"], measured["pruning"]
    seeds = ", ".join(map(str, sampled["random_seeds"]))
    judged = sampled.get("judged", "mass")
    there = sampled["moves"][VARIANCE]  # a card measured earlier has fewer nulls
    held = [null for name, null in MOVEMENT_NULLS.items() if name in there]
    nulls = " ".join(f"{null.title.capitalize()}: {null.sentence}." for null in held)
    lines = "\n".join(f"- {line}" for line in verdict_lines())
    return f"""# {_TITLES[kind]}

Written by `python -m training.report write` from `{TRAINING}` and `{MEASUREMENTS}`. Intervals are 95 %.

{_budget(kind)} Both were trained by
`training/train.py` on text that `analysis/bundled/grammar.py` generates; nothing is from elsewhere. It knows
a world of about 1,500 words and nothing of ours: it is for showing attention sinks and pruning on any CPU, not for use
as a language model.

## Training

{_training(kind, training, size)}

Text: stories, lessons, scenes and sums of 32 to 256 tokens, generated from the seed. One combination in {ONE_IN},
chosen by a hash of its key, is never generated; the tasks consist of those. The stream begins with
{GAMES_ALONE} batches of text that is dense with names, whose share falls to the usual one by batch {GAMES_UNTIL}.

## Accuracy

Items of the {pruning["split"]} split. The recipe was chosen on documents of the training stream, on dev items and on
held-out units of an earlier, larger cast; these items were not looked at. Choices are scored by log-likelihood
(exact where an answer has at most five tokens, else {pruning["draws"]} draws), written answers by exact match of the
number. Weights run in {measured["dtype"]}.

Items of one key are one question with other names, so intervals are clustered by key; the tasks'
effective clusters are Kish's, (Σ n)² / Σ n² over the keys' items.{_few_clusters(measured)}

{_dense(measured)}

{_names(measured, kind)}

## Pruning

Every projection of every block, as published: magnitude up to a threshold over each matrix, Wanda the lowest of
each output row. Wanda is calibrated on {pruning["calibration"]["tokens"]:,} tokens of
clean text, block by block through the pruned blocks before. Loss is that of training, on an untrained stream.

{_curve(measured)}

{_differences(measured)}

## Sinks

{sampled["prompts"]} beginnings of texts that lead up to a held-out combination, {sampled["new_tokens"]} new tokens
each, temperature 0, {sampled["steps"]:,} steps: what `python -m analysis sinks` records. A sink's {judged} lies above
mean + 2·std of its step, judged on each layer, and last on the mean of all layers, which hides what layers rest on.
Random weights: models of the
same shape (seeds {seeds}) on the same inputs. Values are quotients of sums over the prompts with 95 %
intervals over prompts. Kinds: those with at least {LEAST_PORTION:.0%} of the sinks. Uniform attention has a
corrected share of 1.

{_sinks(sampled)}

How the sinks of all layers together move from step to step, beside what they are held against. {nulls}

{_moves(sampled)}

What lies beyond the nulls. {sampled["noise"]}

{_said(sampled)}

{_other_trainings(kind)}## What the pair was built to show

{lines}
"""


def write() -> None:
    """Write the README.md of each model that has been measured."""
    for kind, folder in FOLDERS.items():
        if read(kind, MEASUREMENTS) is not None and read(kind, TRAINING) is not None:
            (folder / "README.md").write_text(card(kind), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    measuring = verbs.add_parser("measure", help="measure one model")
    measuring.add_argument("--model", choices=KINDS, required=True)
    measuring.add_argument("--split", choices=("dev", "test"), default="test")
    measuring.add_argument("--limit", type=int, help="items a task, for a quick look")
    measuring.add_argument("--pair", type=Path, default=BUNDLED, help="folder of a pair trained from another seed")
    measuring.add_argument("--sinks", action="store_true", help="measure the sinks anew and keep all other numbers")
    verbs.add_parser("write", help="write the model cards from the numbers measured")
    arguments = parser.parse_args()
    if arguments.verb == "measure" and arguments.sinks:
        measure_sinks(arguments.model)
    elif arguments.verb == "measure":
        run_measurements(arguments.model, arguments.split, arguments.limit, arguments.pair)
    else:
        write()


if __name__ == "__main__":
    main()
