"""A stored result outlives every change but one of the code that computes it."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.job_context import SilentContext
from analysis.jobs import JOBS, Job, Outcome, code_of
from analysis.specs import (
    AblateSetSpec,
    CalibrateSpec,
    CalibrationParams,
    EvaluateSpec,
    LLaDASampling,
    ModelSpec,
    PruneSpec,
    RecordSpec,
    UnloadSpec,
)
from cache import keys as code_module
from cache.keys import NO_NUMBERS, Code, code_version, read_module
from cache.stores import Stores

ROOT = Path(__file__).parents[2]
EDITED: set[Path] = set()
CPU = ModelSpec(device="cpu")
SAMPLING = LLaDASampling(steps=2, gen_length=4, block_length=4)
LITTLE = CalibrationParams(samples=2, seq_len=16, step_interval=25)
SMALL = {
    "record": RecordSpec(model=CPU, prompt="mia has", sampling=SAMPLING),
    "ablate_set": AblateSetSpec(model=CPU, prompts=("mia has", "tom is"), sampling=SAMPLING),
    "prune": PruneSpec(model=CPU, method="sink-sparsegpt", sparsity=0.5, calibration=LITTLE),
    "calibrate": CalibrateSpec(model=CPU, calibration=LITTLE, heldout=1),
    "evaluate": EvaluateSpec(model=CPU, tasks=("bundled_agreement",), limit=2),
}
# Asks a program of that code whether it finds a result; "keep" leaves one.
FIND = """
import sys
from pathlib import Path
from analysis.jobs import known_key
from analysis.specs import RecordSpec
from cache.store import Store
store, key = Store(Path(sys.argv[1])), known_key("record", RecordSpec(prompt="mia has"))
if sys.argv[2] == "keep":
    store.add_result(key, {})
print(store.has_result(key), "torch" in sys.modules)
"""


@pytest.fixture(scope="module")
def code_folder(tmp_path_factory):
    """A copy of the code without the weights, which are linked."""
    copy = tmp_path_factory.mktemp("code")
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors", "study.json.gz")
    for room in ("analysis", "cache"):
        shutil.copytree(ROOT / room, copy / room, ignore=ignored)
    for weights in (ROOT / "analysis" / "bundled").rglob("*.safetensors"):
        (copy / weights.relative_to(ROOT)).symlink_to(weights)
    return copy


@pytest.fixture
def copied(code_folder, monkeypatch):
    """That copy, of which only what is edited is read again; put back after the test."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    Code(ROOT)
    known = code_module._place_of_cache(ROOT / "analysis")
    monkeypatch.setattr(sys, "pycache_prefix", str(code_folder / "compiled"))
    place = code_module._place_of_cache(code_folder / "analysis")
    if known.exists() and not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(known, place)
    yield code_folder
    for path in EDITED:
        shutil.copy(ROOT / path.relative_to(code_folder), path)
    EDITED.clear()


def edit(root: Path, file: str, before: str, after: str) -> None:
    """Replaces the first `before`; at the file's end where it is nothing."""
    path = root / file
    text = path.read_text(encoding="utf-8")
    assert before in text, f"{file} does not hold {before!r}"
    EDITED.add(path)
    path.write_text(text.replace(before, after, 1) if before else text + after, encoding="utf-8")


def test_a_result_is_found_again_after_a_comment_and_not_after_a_formula(copied, tmp_path):
    def found(do: str) -> list[str]:
        command = [sys.executable, "-c", FIND, str(tmp_path / "store"), do]
        compiled = {"PYTHONPYCACHEPREFIX": str(copied / "compiled"), "PYTHONDONTWRITEBYTECODE": ""}
        asked = subprocess.run(
            command, cwd=copied, env={**os.environ, **compiled}, capture_output=True, text=True, check=True
        )
        return asked.stdout.split()

    assert found("keep") == ["True", "False"], "and it is asked without torch"
    edit(copied, "analysis/recording/denoising.py", "\n\ndef ", "\n\n# A comment.\ndef ")
    assert found("look") == ["True", "False"]
    edit(copied, "analysis/sinks/step_inputs.py", "GIVEN = ", "GIVEN = 1 + ")
    assert found("look") == ["False", "False"]


def test_no_words_rooms_or_permissions_change_a_version(copied):
    def versions() -> dict[str, str]:
        code = Code(copied)
        modules = {job.run.__module__ for job in JOBS.values() if job.run}  # other tests may have added jobs of theirs
        return {name: code.version(name) for name in modules if name.startswith("analysis.")}

    before = versions()
    edit(copied, "analysis/pruning/sparsegpt.py", "\n\nclass ", "\n\n# Why.\nclass ")
    edit(copied, "analysis/pruning/wanda.py", '"""', '"""Another word. ')
    edit(copied, "analysis/jobs/calibration.py", "Choose a", "Choose, please, a")
    edit(copied, "analysis/specs/pruning.py", "parameter(", "parameter(\n        # A comment.\n        ")
    edit(copied, "analysis/models/architectures.py", "", "\nNOTE = 'Nobody computes with a sentence.'\n")
    sentence = versions()
    assert all(sentence[name] != version for name, version in before.items() if name != "analysis.jobs.evaluation")
    edit(copied, "analysis/models/architectures.py", "Nobody computes", "No one computes")
    assert versions() == sentence
    shutil.copy(ROOT / "analysis/models/architectures.py", copied / "analysis/models/architectures.py")
    for file in ("engine/permissions", "findings/masks", "figures/style", "command_line/prune", "jobs/summaries"):
        edit(copied, f"analysis/{file}.py", "", "\nANOTHER = 1\n")
    assert versions() == before


def test_a_change_of_what_is_computed_changes_the_versions_of_the_jobs_that_run_it(copied):
    def versions() -> dict[str, str]:
        code = Code(copied)
        return {name: code.version(f"analysis.jobs.{name}") for name in ("pruning", "recordings", "evaluation")}

    def changed_by(file: str, before: str, after: str) -> set[str]:
        old = versions()
        edit(copied, f"analysis/{file}", before, after)
        new = versions()
        return {name for name in old if old[name] != new[name]}

    assert changed_by("pruning/selection.py", "def pruned_mask(", "def pruned_mask_(") == {"pruning"}
    assert changed_by("evaluation/likelihood.py", "", "\nA = 1\n") == {"evaluation"}
    assert changed_by("bundled/units.py", "", "\nTEXT = 'Emma has a red dog.'\n") == {"pruning", "evaluation"}
    assert changed_by("bundled/units.py", "a red dog", "a blue dog") == {"pruning", "evaluation"}
    assert changed_by("evaluation/bundled/story.yaml", "", "\n") == {"evaluation"}
    assert changed_by("evaluation/bundled/story_test.jsonl", "", "\n") == {"evaluation"}
    assert changed_by("attention/__init__.py", "CHUNK = 128", "CHUNK = 64") == {"pruning", "recordings", "evaluation"}


def digest(source: str, name: str = "analysis.pruning.one") -> str:
    return read_module(source.encode(), name).digest


@pytest.mark.parametrize(
    "other",
    [
        "def f(x):\n    '''Doubles.'''\n    return 2 * x  # twice\n",
        "'''A module.'''\n\n\ndef f(x):\n    return (2\n        * x)\n",
    ],
)
def test_layout_comments_and_docstrings_are_no_code(other):
    assert digest(other) == digest("def f(x):\n    return 2 * x\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("raise ValueError('too small')", "raise ValueError(f'smaller than {least}')"),
        ("context.progress('loading', 1, 2)", "context.progress('reading', 1, 2)"),
        ("notes.append('Nothing was left out.')", "notes.append('All of it is there.')"),
        ("note = f'Of {n} items {m} were left out.'", "note = f'Left out were, of {n}, {m} items.'"),
        ("x = parameter(1, 'Size', 'How large.', ge=1)", "x = parameter(1, 'Width', 'How wide.', ge=1)"),
        ("Row('a', title='Size', unit='m')", "Row('a', title='Width', unit='metres')"),
    ],
)
def test_what_is_said_to_people_is_no_code(one, other):
    assert digest(one) == digest(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("y = x['mass']", "y = x['mean']"),
        ("y = 1 - a * b", "y = 1 - a / b"),
        ("x = parameter(1, 'Size', 'How large.', ge=1)", "x = parameter(2, 'Size', 'How large.', ge=1)"),
        ("note = f'Of {n} items {m} were left out.'", "note = f'Of {n} items {k} were left out.'"),
        ("raise ValueError('too small')", "raise KeyError('too small')"),
        ("prompt = 'Question: {{question}} The answer is.'", "prompt = 'Question: {{question}} Its answer is.'"),
        ("prompt = 'Say what it is.\\nAnswer:'", "prompt = 'Say what this is.\\nAnswer:'"),
        ("context.progress('loading', 1, 2)", "context.progress('loading', 1, 3)"),
    ],
)
def test_what_computes_is_code(one, other):
    assert digest(one) != digest(other)


def test_sentences_that_models_read_are_code():
    one, other = "TEXT = 'Emma has a red dog.'", "TEXT = 'Emma has a blue dog.'"
    assert digest(one) == digest(other)
    assert digest(one, "analysis.bundled.units") != digest(other, "analysis.bundled.units")


@pytest.mark.parametrize("kind", SMALL)
def test_every_function_that_a_job_runs_is_in_its_version(kind, tmp_path):
    """Whatever is found by reading imports is held against what is called."""
    job = JOBS[kind]
    known = Code(ROOT).closure(job.run.__module__)
    called: set[str] = set()

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_name not in ("<module>", "<lambda>"):
            called.add(frame.f_globals.get("__name__", ""))

    context = SilentContext(tmp_path, Stores(tmp_path / "home"))
    sys.setprofile(note)
    try:
        job.run(SMALL[kind], context)
    finally:
        sys.setprofile(None)
        context.stores.close()
    ours = {name for name in called if name.startswith("analysis.")}
    assert len(ours) > 10
    spared = {name for name in ours - known if not name.startswith(NO_NUMBERS)}
    assert spared == set()


def test_what_was_read_is_kept_by_the_time_of_its_file(copied, monkeypatch):
    first = Code(copied).version("analysis.jobs.pruning")
    read: list[str] = []
    reader = code_module.read_module
    monkeypatch.setattr(code_module, "read_module", lambda content, name: (read.append(name), reader(content, name))[1])
    assert Code(copied).version("analysis.jobs.pruning") == first and read == []
    edit(copied, "analysis/pruning/wanda.py", "\n\ndef ", "\n\nA = 1\n\n\ndef ")
    assert Code(copied).version("analysis.jobs.pruning") != first and read == ["analysis.pruning.wanda"]
    for damaged in (copied / "compiled").rglob("*.json"):
        damaged.write_text("{")
    assert Code(copied).version("analysis.jobs.evaluation") and len(read) > 100


def test_a_version_is_asked_of_what_is_there():
    assert len(code_version("analysis.jobs.pruning")) == 16
    assert code_of("prune") == code_version("analysis.jobs.pruning")
    assert code_of("sweep") not in {code_of("prune"), code_of("evaluate")}
    with pytest.raises(ValueError, match=r"no module 'analysis\.jobs\.pruned'"):
        code_version("analysis.jobs.pruned")


def test_a_module_outside_the_package_counts_with_what_it_imports_and_leaves_the_version_of_all_alone():
    code = Code(ROOT)
    all_of_it = code.version()
    assert {"tests.engine.jobs", "analysis.jobs.pruning"} <= code.closure("tests.engine.jobs")
    assert code.version("tests.engine.jobs") not in {all_of_it, code.version("tests.engine.no_such_file")}
    assert code.version() == all_of_it


def test_a_stored_job_has_the_name_of_its_function():
    def other(spec: UnloadSpec, context: SilentContext) -> Outcome:
        return Outcome({})

    with pytest.raises(ValueError, match="its function is called 'named'"):
        Job("named", "Named", other, UnloadSpec)


def test_a_module_is_read_though_another_thread_disturbs_the_parser(monkeypatch):
    """CPython raises SystemError where the depth it counts for all threads does not return to what it was."""
    parse, failed = ast.parse, []

    def disturbed(content: bytes) -> ast.Module:
        if len(failed) < 3:
            failed.append(content)
            raise SystemError("AST constructor recursion depth mismatch (before=68, after=70)")
        return parse(content)

    before = read_module(b"x = 1", "analysis.x")
    monkeypatch.setattr(code_module.ast, "parse", disturbed)
    assert read_module(b"x = 1", "analysis.x") == before and failed
