"""The surface of the command line as stored in surface.json: flags with their defaults, exit codes, the jobs that
command lines ask for, and the fields that --json prints.

`python -m tests.command_line.surface` writes the file anew after a change that is meant. Fields of --json stay as they
are in it; tests that run a verb compare them by `holds_fields`.
"""

import argparse
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

from analysis import __main__ as program
from analysis.command_line.running import Runner
from analysis.errors import UserError

FILE = Path(__file__).with_name("surface.json")
SAID = re.compile(r"Default: (.*?)\.(?:\s|$)")
PROMPTS = {
    "prompts.txt": "mia has a dog .\nben has a cat .\n\nthe dog is big .\n",
    "prompts.jsonl": '{"prompt": "mia has a dog .", "cluster": "a"}\n{"prompt": "ben is", "cluster": "a"}\n'
    '{"text": "the dog is big ."}\n',
}

# Command lines, each with every kind of flag that its verb gives to another part of its job's parameters.
ASKED = (
    "record --prompt hello --out a.safetensors",
    "record --prompts prompts.txt --gen-length 8 --steps 4 --block-length 4 --seed 3 --drift --channels 2 "
    "--mass-dtype float32 --device cpu --dtype float32 --chat-template off --out a.safetensors",
    "record --model bundled-ar --prompt hello --top-k 5 --temperature 0.5 --out a.safetensors",
    "record --prompt hello --threshold 0.6 --compare-parallel --out a.safetensors",
    "sinks --out s",
    "sinks --prompts prompts.jsonl --count 2 --beside bundled-ar --k 4 --null-draws 3 --null-prompts 2 "
    "--random-models 1 --by-query --steps 4 --gen-length 8 --seed 2 --device cpu --out s",
    "ablate --out s",
    "ablate --prompts prompts.jsonl --prompt-count 2 --targets sinks,moving --interventions value --count 3 "
    "--first-layer 1 --last-layer 1 --window 2 --random-model --seed 4 --k 3 --steps 4 --gen-length 8 --out s",
    "evict --out s",
    "evict --prompts prompts.txt --policies sinks,recent --budgets 0.3 --k 4 --seed 5 --cache prefix --block-length 2 "
    "--gen-length 4 --steps 4 --chat-template off --out s",
    "inspect --out s",
    "inspect --prompts prompts.txt --prompt-count 2 --insights lens,geometry --lens-at 0.25 --channels-kept 2 "
    "--random-models 1 --k 4 --seed 1 --gen-length 4 --steps 4 --mass-dtype float32 --device cpu --out s",
    "claims --out c",
    "claims --model bundled-ar --size standard --reference none --only sinks-move small-values --prompts prompts.jsonl "
    "--seeds 3,4 --sparsity 0.6 --dtype float32 --out c",
    "claims --prompt-count 40 --reference bundled-ar --estimate",
    "prune --out p",
    "prune --model bundled-ar --method wanda --sparsity 0.3 --quota-scope layer --out p",
    "prune --method sink-wanda --sparsity 0.4 --sink-std 3 --discount-strength 0.5 --calibration prompts.txt "
    "--samples 8 --seq-len 32 --seed 3 --noise uniform --diffusion-steps 20 --first-step 2 --last-step 9 --bits 8 "
    "--quantizer rtn --allocation depth --device cpu --overwrite --out p",
    "prune --method magnitude --quota-scope row --out p",
    "evaluate --out e.json",
    "evaluate --model bundled --compare bundled-ar bundled --names a,b,c --tasks bundled --limit 4 --draws 8 --seed 2 "
    "--shots 0 --device cpu --target 3 --out e.json",
    "suggest",
    "suggest --model bundled --objective error --trials 4 --seed 2 --samples 4 "
    "--calibration-seed 5 --seq-len 32 --calibration prompts.txt --searched sink_std --sparsity 0.6 --heldout 2 "
    "--device cpu",
    "suggest --objective accuracy --trials 3 --sink-std 3",
    "sweep --out s",
    "sweep --model bundled bundled-ar --methods wanda,sink-wanda --sparsities 0.3,0.6 --seeds 0-2 "
    "--bits 16,8 --discount 0.5,1 --stds 2,3 --steps 0-25 --tasks bundled --limit 5 --seed 7 --samples 8 "
    "--noise steps --keep checkpoints --shard 1/2 --footprints --decompose --device cpu --out s",
    "study --out s",
    "study --model bundled-ar --size standard --reference none --prompt hi --prompts prompts.jsonl --seeds 0,1 "
    "--sparsities 0.6 --tasks bundled --dtype float32 --out s",
    "study --prompt-count 12 --reference bundled-ar --estimate",
    # refused
    "",
    "nonsense",
    "record",
    "record --prompt hello",
    "record --prompt hello --prompts prompts.txt --out a.safetensors",
    "record --prompt hello --alg entropy --out a.safetensors",
    "record --prompt hello --seed -1 --out a.safetensors",
    "record --prompt hello --branch-step 1 --out a.safetensors",
    "record --prompt hello --steps four --out a.safetensors",
    "sinks --policies sinks --out s",
    "ablate --targets nobody --prompts prompts.txt --out s",
    "evict --budgets 1.5 --prompts prompts.txt --out s",
    "evict --prompts prompts.txt",
    "inspect --insights nothing --out s",
    "claims",
    "claims --only nothing --out c",
    "prune --method none --out p",
    "prune --noise nothing --out p",
    "prune --sparsity 2 --out p",
    "evaluate --tasks , --out e.json",
    "evaluate",
    "suggest --trials 0",
    "sweep",
    "sweep --sparsities 2 --out s",
    "sweep --sparsity 0.5 --out s",
    "study",
    "study --size enormous --out s",
    "study --sparsities 2 --out s",
    "import",
    "merge nowhere --out s",
    "export nowhere --out s",
    "push",
    "demo --nothing",
)


class Asked(BaseException):
    """What a verb would have run."""


def flags_of(verb: str) -> dict[str, Any]:
    """Return every flag and positional of a verb by its name, with what a caller can rely on."""
    parser = program._parser([verb])
    (verbs,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    one = verbs.choices[verb]
    exclusive = [action.option_strings for group in one._mutually_exclusive_groups for action in group._group_actions]
    return {
        " ".join(action.option_strings) or str(action.metavar): _told(action, action.option_strings in exclusive)
        for action in one._actions
        if not isinstance(action, argparse._HelpAction)
    }


def _told(action: argparse.Action, exclusive: bool) -> dict[str, Any]:
    hidden = action.help == argparse.SUPPRESS
    said = None if hidden else SAID.search(action.help or "")
    told = {
        "is": type(action).__name__.strip("_").removesuffix("Action"),
        "type": getattr(action.type or str, "__name__", None),
        "nargs": action.nargs,
        "choices": None if action.choices is None else {str(choice): True for choice in action.choices},
        "default": (said and said[1]) if action.default in (None, argparse.SUPPRESS) else action.default,
        "required": action.required or None,
        "hidden": hidden or None,
        "exclusive": exclusive or None,
    }
    return {name: value for name, value in told.items() if value not in (None, [], (), "", "str", "Store")}


def answer_to(line: str, folder: Path) -> Any:
    """Return the exit code of a command line, or the job that it asks for with the parameters that are not presets.

    folder: empty, becomes the current one.
    """
    for name, text in PROMPTS.items():
        (folder / name).write_text(text)
    words, before = line.split(), Path.cwd()
    os.chdir(folder)
    try:
        with (
            mock.patch.object(Runner, "run_all", _run_all),
            mock.patch("analysis.exhibits.inside_sets.inspect_prompts", _look),
        ):
            if words and words[0] in ("claims", "sweep", "study"):
                return _planned(words)
            return program.main(words)
    except Asked as asked:
        return asked.args[0]
    finally:
        os.chdir(before)


def _planned(words: list[str]) -> Any:
    """Return what a verb of many jobs would start; its exit code where it refuses."""
    module = import_module(program.VERBS[words[0]].module)
    found: list[Any] = []

    def kept(options: argparse.Namespace) -> Any:
        found.append(make(options))
        raise UserError("Far enough.")

    name = "planned" if words[0] == "study" else "spec_of"
    make = getattr(module, name)
    with mock.patch.object(module, name, kept):
        code = program.main(words)
    return _written(words[0], found[0]) if found else code


def _run_all(runner: Runner, kind: str, specs: Iterable[Any]) -> Any:
    raise Asked([_written(kind, spec) for spec in specs])


def _look(record: Any, texts: list[str], params: Any, sinks: Any, beside: Any, jobs: Any) -> Any:
    others = {"texts": len(texts), "beside": beside, "params": _presets_gone(params), "sinks": _presets_gone(sinks)}
    raise Asked([_written("record", record), others])


def _written(kind: str, spec: Any) -> dict[str, Any]:
    return {"asks": kind, "with": _presets_gone(spec)}


def _presets_gone(spec: Any) -> Any:
    told = spec.model_dump(mode="json", exclude_defaults=True)
    return {name: len(value) if isinstance(value, list) and len(value) > 9 else value for name, value in told.items()}


def missing(was: Any, now: Any) -> Any:
    """Return what of `was` is not so in `now`; empty where all of it is. What is only in `now` is not compared."""
    if isinstance(was, dict) and isinstance(now, dict):
        differing = {name: (missing(value, now[name]) if name in now else "is gone") for name, value in was.items()}
        return {name: value for name, value in differing.items() if value}
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        return list(filter(None, map(missing, was, now)))
    return "" if was == now else f"was {was}, is {now}"


def holds_fields(verb: str, printed: Any) -> None:
    """Raise AssertionError where --json of a verb no longer prints a field that it printed."""
    fields = stored()["fields"][verb]
    lost = set(fields) - set(printed)
    assert fields and not lost, f"{verb} --json no longer prints {', '.join(sorted(lost))}"


def stored() -> dict[str, Any]:
    """Return the stored surface."""
    surface: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return surface


def _lines(table: Mapping[str, Any]) -> str:
    return ",\n".join(f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in table.items())


def _write() -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ["SINKSCOPE_HOME"] = home
        answers = {}
        for number, line in enumerate(ASKED):
            folder = Path(home) / str(number)
            folder.mkdir()
            try:
                answers[line] = answer_to(line, folder)
            except SystemExit as ended:
                answers[line] = ended.code
    parts = [f'"flags {verb}": {{\n{_lines(dict(sorted(flags_of(verb).items())))}\n}}' for verb in program.VERBS]
    fields = stored()["fields"] if FILE.is_file() else {}
    parts += [f'"answers": {{\n{_lines(answers)}\n}}', f'"fields": {{\n{_lines(fields)}\n}}']
    FILE.write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    _write()
