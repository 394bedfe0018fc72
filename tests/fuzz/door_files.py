"""Doors that take files: checkpoints, tokenizers, recordings, studies, results, texts and tasks."""

import gzip
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from analysis.calibration.text import calibration_text
from analysis.command_line.prompts import read_keyed
from analysis.errors import UserError
from analysis.evaluation import results, tasks
from analysis.evaluation.lm_eval_results import models_in, read_samples
from analysis.models.checkpoint import find
from analysis.models.load import load
from analysis.models.tokenizer import chat_text, encode_prompt, load_tokenizer
from analysis.models.weight_files import header
from analysis.pruned.report_file import REPORT_FILE, read_report
from analysis.recording.trajectory_file import open_trajectory
from analysis.specs import CalibrationParams, EvaluateSpec, ModelSpec
from analysis.study import findings
from tests.conftest import GOLDEN
from tests.fuzz import hostile
from tests.fuzz.doors import door, require
from tests.helpers import ROOT, save_tokenizer, there

_RECORDINGS = ROOT / "tests" / "recording" / "examples"
_BUNDLED = ROOT / "analysis" / "bundled"
_FAMILIES = sorted(folder.name for folder in GOLDEN.iterdir() if (folder / "config.json").is_file())


def _written(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8", errors="surrogatepass")


@door(260)
def configs(place: Path) -> Callable[[random.Random], None]:
    """Checkpoints of every family whose config says something else of them."""
    for family in _FAMILIES:
        shutil.copytree(GOLDEN / family, place / family)
        if not (place / family / "tokenizer.json").is_file():
            save_tokenizer(place / family)

    def answer(dice: random.Random) -> None:
        family = dice.choice(_FAMILIES)
        fields = json.loads((GOLDEN / family / "config.json").read_text(encoding="utf-8"))
        given = hostile.changed(dice, fields)
        if dice.random() < 0.3:  # truths and numbers that are none
            given[dice.choice(("is_causal", "tie_word_embeddings", "rope_theta", "layer_norm_eps"))] = dice.choice(
                ("y", "no", float("nan"), [], "1e-5", None)
            )
        _written(place / family / "config.json", given)
        checkpoint = find(str(place / family))
        require(checkpoint is not None, "a folder is taken for a hub id")
        if dice.random() < 0.25:
            load(ModelSpec(source=str(place / family), device="cpu", dtype="float32"))

    return answer


@door(160)
def tokenizers(place: Path) -> Callable[[random.Random], None]:
    """Tokenizers and chat templates."""
    names = ("tokenizer.json", "tokenizer_config.json")
    whole = {name: (_BUNDLED / "diffusion" / name).read_bytes() for name in names}
    templates = (*hostile.LOOPS, *hostile.MARKUP, "{% raise %}", "{{ messages[9].content }}", "{{ ''.__class__ }}", "")

    def answer(dice: random.Random) -> None:
        for name, content in whole.items():
            (place / name).write_bytes(content)
        name = dice.choice(names)
        if dice.random() < 0.4:
            fields = {**json.loads(whole[names[1]]), "chat_template": dice.choice(templates)}
            _written(place / names[1], fields)
        elif dice.random() < 0.5:
            (place / name).write_bytes(hostile.spoiled(dice, whole[name]))
        else:
            _written(place / name, hostile.changed(dice, json.loads(whole[name])))
        tokenizer = there(load_tokenizer(place))
        encode_prompt(tokenizer, hostile.text(dice)[:2000], chat=False)
        chat_text(tokenizer, [{"role": "user", "content": hostile.text(dice)[:2000]}])

    return answer


@door(220)
def recordings(place: Path) -> Callable[[random.Random], None]:
    """Recordings and weights with bytes changed, cut off, or with other descriptions."""
    whole = [file.read_bytes() for file in sorted(_RECORDINGS.glob("*.safetensors"))]
    path = place / "file.safetensors"

    def answer(dice: random.Random) -> None:
        content = dice.choice(whole)
        if dice.random() < 0.5:
            length = int.from_bytes(content[:8], "little")
            described = json.loads(content[8 : 8 + length])
            told = hostile.changed(dice, json.loads(described["__metadata__"]["sinkscope"]))
            described["__metadata__"]["sinkscope"] = json.dumps(told)
            if dice.random() < 0.3:
                described = hostile.changed(dice, described)
            text = json.dumps(described).encode()
            path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
        else:
            path.write_bytes(hostile.spoiled(dice, content))
        for read in (open_trajectory, header):
            try:
                read(path)
            except UserError as error:
                refusal: UserError | None = error
            else:
                refusal = None
        if refusal is not None:
            raise refusal

    return answer


@door(160)
def reports(place: Path) -> Callable[[random.Random], None]:
    """Files of studies, of prunings and of evaluations."""
    study = json.loads(gzip.decompress((_BUNDLED / "study.json.gz").read_bytes()))

    def answer(dice: random.Random) -> None:
        kind = dice.randrange(3)
        if kind == 0:
            text = json.dumps(hostile.changed(dice, study)).encode()
            path = place / "study.json.gz"
            path.write_bytes(gzip.compress(text, 1) if dice.random() < 0.7 else hostile.spoiled(dice, text[:2000]))
            findings.read(path)
        elif kind == 1:
            _written(place / REPORT_FILE, hostile.json_value(dice, 3))
            read_report(place)
        else:
            lines = [
                json.dumps(
                    {"line": dice.choice(("header", "item", "answer", "end", "x")), "a": hostile.json_value(dice)}
                )
            ]
            path = place / "items.jsonl"
            path.write_text("\n".join(lines * dice.randrange(1, 3)), encoding="utf-8")
            results.read(path)

    return answer


@door(120)
def results_of_lm_eval(place: Path) -> Callable[[random.Random], None]:
    """Folders that lm-eval is said to have written."""
    date = "2026-01-01T00-00-00.000000"

    def answer(dice: random.Random) -> None:
        folder = place / "results"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        task = {"acc,none": hostile.json_value(dice), "alias": hostile.json_value(dice)}
        said = {
            "results": {"mine": task if dice.random() < 0.7 else hostile.json_value(dice)},
            "configs": {"mine": hostile.json_value(dice)},
            "config": {"model_args": hostile.json_value(dice)},
        }
        _written(folder / f"results_{date}.json", hostile.changed(dice, said))
        rows = [hostile.json_value(dice, 3) for _ in range(3)]
        rows.append({"doc_id": hostile.json_value(dice), "doc": {}, "acc": hostile.json_value(dice), "arguments": []})
        (folder / f"samples_mine_{date}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        for model in models_in(
            Path(dice.choice((str(folder), "~nouser/x", "~/no-such", str(folder / "none"), str(folder))))
        ):
            for named in model.tasks.values():
                list(read_samples(named))

    return answer


@door(120)
def texts(place: Path) -> Callable[[random.Random], None]:
    """Calibration texts and files of prompts."""
    checkpoint = find("bundled")
    assert checkpoint is not None
    tokenizer = load_tokenizer(checkpoint.folder)

    def answer(dice: random.Random) -> None:
        path = place / dice.choice(("text.txt", "text.jsonl", "text"))
        rows: list[Any] = [
            dice.choice(({"text": hostile.json_value(dice)}, {"input_ids": hostile.json_value(dice)}, []))
            for _ in range(3)
        ]
        content = "\n".join(map(json.dumps, rows)).encode()
        path.write_bytes(content if dice.random() < 0.6 else hostile.spoiled(dice, content))
        named = dice.choice((str(path), str(path), "~nouser/x", str(place), "/proc/self/mem", str(place / "x" / "y")))
        if dice.random() < 0.3:
            read_keyed(Path(named))
            return
        params = CalibrationParams(data=named, samples=2, seq_len=8)
        calibration_text(params, tokenizer, checkpoint.geometry.max_length, checkpoint.geometry.vocabulary)

    return answer


@door(90)
def own_tasks(place: Path) -> Callable[[random.Random], None]:
    """Tasks that somebody wrote: no item counts that no answer can be right of, and no template goes on without end."""
    folder = place / "tasks"

    def answer(dice: random.Random) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        rights = (0, 1, 7, -1, "is", "were", "", None, [0], [5])
        right = dice.choice(rights)
        rows = [{"q": hostile.text(dice)[:200].encode("utf-8", "replace").decode(), "right": right} for _ in range(3)]
        (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        fields: dict[str, Any] = {
            "task": "sinkscope_own",  # a name in none of lm-eval's own files, which would all be read
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}},
            "test_split": "test",
            "output_type": "multiple_choice",
            "doc_to_text": "{{q}}",
            "doc_to_choice": ["is", "are"],
            "doc_to_target": "right",
        }
        kind = dice.randrange(4)
        if kind == 0:
            fields["task"] = dice.choice((5, None, [], {}, "", True))
        elif kind == 1:
            fields["doc_to_text"] = dice.choice((*hostile.LOOPS, *hostile.MARKUP, "{{ nothing }}", "{{ q", 5))
        elif kind == 2:
            fields[dice.choice(list(fields))] = dice.choice((None, "", "x", [], {}, 5, True))
        (folder / "mine.yaml").write_text(json.dumps(fields), encoding="utf-8")  # JSON is YAML
        names = (str(folder), str(folder), str(folder), "~nouser/x", str(folder / "none"), str(folder / "mine.yaml"))
        spec = EvaluateSpec(tasks=("sinkscope_own",), include_path=dice.choice(names))
        (benchmark,), told = tasks.load_benchmarks(spec, None)
        for document in benchmark.documents:
            if kind == 3:
                found = document.requests[0].doc["right"]
                require(found in (0, 1, "is", "are", [0]), f"an item whose right answer is {found!r} counts")
        require(all(sentence.endswith((".", "?")) for sentence in told), str(told))

    return answer
