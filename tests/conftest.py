"""Shared by all tests: golden checkpoints, small models made on the fly, a private store, the real server."""

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if "PYTEST_XDIST_WORKER" in os.environ:
    gc.disable()  # until all is imported: none of it is garbage
# Set before anything of the project is imported: no test touches the user's own store or the network.
_HOME = tempfile.mkdtemp(prefix="sinkscope-tests-")
os.environ["SINKSCOPE_HOME"] = _HOME
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import hypothesis  # noqa: E402
import pytest  # noqa: E402

if TYPE_CHECKING:
    from analysis.models.loaded import LoadedModel
    from analysis.recording.trajectory import Trajectory
    from cache.store import Store

GOLDEN = Path(__file__).parent / "golden"

# A busy machine is no failure; `make fuzz` looks further.
hypothesis.settings.register_profile("untimed", deadline=None, max_examples=50)
hypothesis.settings.load_profile("untimed")


# Files whose tests wait for servers and workers, the longest first, and those that compute. Of processes side by side
# some wait while the others compute; what is short comes last, so that all end together.
WAITING = (
    "browser/test_first_light.py",
    "browser/test_every_page.py",
    "engine/test_cluster.py",
    "engine/test_sweeps.py",
    "engine/test_survival.py",
    "command_line/test_sweep.py",
    "browser",
    "engine",
)
COMPUTING = ("test_benchmarks.py", "test_extending.py", "ui", "pruning", "evaluation", "recording", "jobs")


# Files of tests/browser whose tests share a server.
ONE_SERVER = ("first_light", "plots", "pruning")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of processes side by side one gets all files that share a server, each other file any."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByServer(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return "one server" if file in [f"tests/browser/test_{name}.py" for name in ONE_SERVER] else file

    return ByServer(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Of processes side by side one comes first: the others read what it has compiled, the libraries included."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    import fcntl

    with open(__file__) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(lock, fcntl.LOCK_SH)
        from tests.workers import serve_forks

        serve_forks()
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the files that wait evenly among those that compute, slow ones first; the order within a file stays."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path.relative_to(Path(__file__).parent).as_posix(), []).append(item)

    def place(file: str, first: tuple[str, ...]) -> int:
        return next((at for at, slow in enumerate(first) if file.startswith(slow)), len(first))

    waiting = sorted((each for each in files if each.startswith(WAITING)), key=lambda each: place(each, WAITING))
    computing = sorted(files.keys() - set(waiting), key=lambda each: (place(each, COMPUTING), each))
    spread = [(at * max(len(computing), 1) / len(waiting), each) for at, each in enumerate(waiting)]
    order = sorted([*spread, *enumerate(computing)], key=lambda each: each[0])
    items[:] = [item for _, file in order for item in files[file]]


def pytest_collection_finish() -> None:
    """Where tests run, which is not where xdist hands them out: loads what most of them need, and leaves what was
    imported out when garbage is looked for, as the server does."""
    import torch

    from analysis.machine.process import allotted_cpus
    from tests.workers import fork_workers

    if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # processes side by side share the CPUs
        torch.set_num_threads(max(1, allotted_cpus() // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])))
    fork_workers()
    gc.enable()
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _leave_out_what_stays():
    """Libraries that a file's tests were the first to load are left out, too, when garbage is looked for."""
    yield
    if len(gc.get_objects()) > 30_000:
        gc.collect()  # or existing garbage would stay for good
        gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _remove_home():
    yield
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def bundled() -> "LoadedModel":
    """The bundled model. Shared: never change its weights."""
    from analysis.models.load import load
    from analysis.specs import ModelSpec

    return load(ModelSpec(device="cpu"))


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> "LoadedModel":
    """A random model of four narrow layers that reads the bundled text, for what does not depend on the weights.
    Shared: never change its weights."""
    from analysis.models.load import load
    from analysis.specs import ModelSpec
    from tests.helpers import tiny_llada

    return load(ModelSpec(source=tiny_llada(tmp_path_factory.mktemp("small") / "model", 0, layers=4), device="cpu"))


GOLDEN_NAMES = ("llada-mha", "llada-gqa", "dream-gqa")


def over_golden(**rows: Iterable[Any]) -> pytest.MarkDecorator:
    """Parametrizes a test by all combinations of `rows`, each on one golden checkpoint in turn.

    For what the checkpoint and the rows decide independently of each other."""
    combined = product(*rows.values())
    taken = [(GOLDEN_NAMES[number % len(GOLDEN_NAMES)], *each) for number, each in enumerate(combined)]
    return pytest.mark.parametrize(("golden", *rows), taken, indirect=["golden"])


@cache
def golden_model(name: str, paradigm: Literal["auto", "mdlm", "bd3lm"] = "auto") -> "LoadedModel":
    """A golden checkpoint, loaded once for all files. Shared: never change its weights."""
    from analysis.models.load import load
    from analysis.specs import ModelSpec

    return load(ModelSpec.model_validate({"source": str(GOLDEN / name), "device": "cpu", "paradigm": paradigm}))


@cache
def _golden(name: str) -> "tuple[LoadedModel, dict, dict]":
    """Read once, where tests that take one checkpoint after another let go of it each time."""
    from safetensors.torch import load_file

    folder = GOLDEN / name
    return golden_model(name), load_file(folder / "golden.safetensors"), load_file(folder / "generate.safetensors")


@pytest.fixture(scope="session", params=GOLDEN_NAMES)
def golden(request) -> "tuple[LoadedModel, dict, dict]":
    """A golden checkpoint, what the authors' code computes on it, and what their samplers generate. Shared: never
    change its weights."""
    return _golden(request.param)


@pytest.fixture(scope="session", autouse=True)
def _components_found_once():
    """Streamlit's harness reads the metadata of every installed package for each page that it opens: 0.2 s of the
    processor, each time with the same result."""
    from streamlit.components.v2 import manifest_scanner

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
        yield


@pytest.fixture(scope="session", autouse=True)
def _pages_are_compiled_once():
    """Streamlit's harness compiles a page anew for each test that opens it; a server does for its first visitor."""
    from streamlit.runtime.scriptrunner.script_cache import ScriptCache

    compiled = ScriptCache.get_bytecode
    shared: dict[tuple[str, int], Any] = {}

    def get_bytecode(cache: ScriptCache, script_path: str) -> Any:
        known = script_path, os.stat(script_path).st_mtime_ns
        if known not in shared:
            shared[known] = compiled(cache, script_path)
        return shared[known]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptCache, "get_bytecode", get_bytecode)
        yield


@pytest.fixture(scope="session", autouse=True)
def _names_of_properties_are_split_once():
    """Plotly splits the name of each property that it sets anew: a tenth of what drawing a page takes."""
    from plotly import basedatatypes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(basedatatypes, "_str_to_dict_path_full", cache(basedatatypes._str_to_dict_path_full))
        yield


@pytest.fixture(scope="session", autouse=True)
def _pages_are_waited_for_asleep():
    """Streamlit's harness asks every millisecond whether a page's script has ended, and takes the processor from it."""
    from streamlit.testing.v1 import local_script_runner

    asks = local_script_runner.require_widgets_deltas

    def wait(runner: Any, timeout: float) -> None:
        runner._script_thread.join(timeout)
        asks(runner, timeout if runner.script_stopped() else 0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_script_runner, "require_widgets_deltas", wait)
        yield


@pytest.fixture(autouse=True)
def _main_module():
    """A page that was run stands in as the main module, which a worker started later would run again."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture
def store(tmp_path) -> "Iterator[Store]":
    """A fresh store."""
    from cache.store import Store

    made = Store(tmp_path / "store")
    yield made
    made.close()


@pytest.fixture(scope="session")
def trajectory(bundled, tmp_path_factory) -> "Trajectory":
    """A real recording of the bundled model: 8 steps, 16 new tokens."""
    from analysis.jobs.recordings import record
    from analysis.recording.trajectory_file import open_trajectory
    from analysis.specs import LLaDASampling, RecordSpec
    from tests.helpers import QuietContext, there

    context = QuietContext(tmp_path_factory.mktemp("recording"))
    spec = RecordSpec(prompt="one day ben goes to the zoo .", sampling=LLaDASampling(gen_length=16, steps=8))
    return open_trajectory(there(record(spec, context).file))
