"""The house's walls: who may import whom."""

import ast
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parent.parent
BIN = sysconfig.get_path("scripts")
SOURCES = [
    ROOT / "app.py",
    *sorted(path for part in ("analysis", "cache", "pages", "training") for path in (ROOT / part).rglob("*.py")),
]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Names of the modules a file imports, also inside functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_walls_and_layers_hold():
    """The contracts of pyproject.toml: who may import whom, and no circle, lazy imports included."""
    done = subprocess.run(
        [shutil.which("lint-imports", path=BIN), "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[done.stdout.find("Contracts") :]


def test_the_script_that_starts_the_app_does_no_torch():
    assert not imports(ROOT / "app.py") & {"torch", "transformers", "dask", "distributed", "optuna"}


def test_importing_the_app_and_every_page_loads_nothing_heavy():
    modules = [module_name(path) for path in [ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))]]
    script = f"import sys, importlib\nfor name in {modules!r}: importlib.import_module(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    heavy = {"torch", "transformers", "distributed", "dask", "accelerate", "datasets", "lm_eval", "optuna", "scipy"}
    assert not loaded & heavy


def test_the_command_line_refuses_and_helps_before_torch_is_loaded():
    """And with the modules of the verb alone that is asked for."""
    asked = (
        ["models"],
        ["record", "--help"],
        ["prune", "--sparsity", "2", "--out", "nowhere"],
        ["sweep", "--help"],
        ["study", "--help"],
    )
    script = f"""
import contextlib, io, sys
from analysis.__main__ import main
told = io.StringIO()
for arguments in {asked!r}:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(told):
        main(arguments)
assert "--block-length" in told.getvalue()
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "analysis.command_line.prune" in loaded and "analysis.command_line.claims" not in loaded
    assert not loaded & {"torch", "transformers", "dask", "lm_eval", "optuna", "scipy", "plotly"}
    assert not loaded & {"analysis.jobs", "analysis.engine"}
    assert "error: Sparsity" in done.stderr


def test_no_remote_code_and_no_machine_paths():
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert "trust_remote_code=True" not in text, path
        assert "unsafe_allow_html" not in text, path
        for word in ("/work/", "/root/", "/tmp/"):
            assert word not in text, path


def test_pages_ask_the_engine_and_never_reach_into_the_store():
    for path in (ROOT / "pages").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        reached = {node.lineno for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "store"}
        assert not reached, f"{path}: lines {sorted(reached)}"


def test_pages_lead_to_each_other_by_links():
    """The browser stops a page's refreshes as a link is followed; `st.switch_page` lets one through, which empties
    the page that was opened. The frame alone switches: it draws again what was emptied all the same."""
    switching = [path.name for path in (ROOT / "pages").rglob("*.py") if "st.switch_page" in path.read_text("utf-8")]
    assert switching == ["frame.py"]


def test_pages_look_at_jobs_no_more_often_than_is_said_in_one_place():
    """Every look costs the browser CPU that the job would use; a number of a page's own would go unseen."""
    asked = [
        (path.name, keyword.value)
        for path in SOURCES
        if "run_every" in (text := path.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "run_every"
    ]
    assert len(asked) > 10
    assert [
        name for name, value in asked for each in ast.walk(value) if isinstance(each, ast.Constant) and each.value
    ] == []
