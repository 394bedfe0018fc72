"""The house's walls: who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = [
    ROOT / "app.py",
    *sorted(path for part in ("analysis", "cache", "pages") for path in (ROOT / part).rglob("*.py")),
]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Names of the modules a file imports, also inside functions unless `top_level_only`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(tree.body) if top_level_only else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("part", ["analysis", "cache"])
def test_the_science_knows_no_screen(part):
    offenders = [
        path
        for path in (ROOT / part).rglob("*.py")
        if any(name.split(".")[0] in {"streamlit", "pages"} for name in imports(path))
    ]
    assert offenders == []


def test_the_store_and_the_figures_stand_on_the_ground():
    for path in (ROOT / "cache").glob("*.py"):
        assert not any(name.startswith("analysis") for name in imports(path)), path
    ground = [ROOT / "analysis" / name for name in ("sinks.py", "masks.py")]
    for path in [*(ROOT / "analysis" / "figures").glob("*.py"), *ground]:
        own = {name for name in imports(path) if name.startswith(("analysis", "cache", "torch"))}
        assert all(name.startswith(("analysis.figures", "analysis.specs")) for name in own), path
    own = {name for name in imports(ROOT / "analysis" / "tuning.py") if name.startswith(("analysis", "cache", "torch"))}
    assert all(name.startswith(("analysis.discount", "analysis.sinks", "analysis.specs")) for name in own)


def test_pages_do_no_torch():
    for path in [ROOT / "app.py", *(ROOT / "pages").rglob("*.py")]:
        assert not any(
            name.split(".")[0] in {"torch", "transformers", "dask", "distributed", "optuna"} for name in imports(path)
        ), path


def test_importing_the_app_and_every_page_loads_nothing_heavy():
    modules = [module_name(path) for path in [ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))]]
    script = f"import sys, importlib\nfor name in {modules!r}: importlib.import_module(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"torch", "transformers", "distributed", "dask", "accelerate", "datasets", "lm_eval", "optuna"}


def test_there_is_no_import_circle():
    names = {module_name(path) for path in SOURCES}
    edges = {module_name(path): imports(path, top_level_only=True) & names for path in SOURCES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " → ".join([*path, name])
        if name not in done:
            for target in edges[name]:
                visit(target, (*path, name))
            done.add(name)

    for name in names:
        visit(name, ())


def test_no_remote_code_and_no_machine_paths():
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert "trust_remote_code=True" not in text, path
        assert "unsafe_allow_html" not in text, path
        for word in ("/work/", "/root/", "/tmp/"):
            assert word not in text, path
