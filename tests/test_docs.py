"""What the docs say can be done is done as they say it: commands, links, and the messages of troubleshooting."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import plotly.graph_objects as go
import pytest
from distributed.cli import dask_scheduler, dask_worker
from streamlit.config import get_config_options

import sinkscope
from analysis.__main__ import main, parsed
from analysis.errors import UserError
from cache.environment import VARIABLES
from tests.helpers import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PLACEHOLDER = re.compile(r"\bSRC\b|\bFOLDER\b|\bFILE\b|…|\[")
DASK = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}
ELSEWHERE = "hub"  # the language of blocks whose commands need the hub or a GPU: they are read, not run


def blocks(page: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: language and text, with lines that go on joined."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [(language, text.replace("\\\n", " ")) for language, text in found]


def commands(page: Path) -> list[list[str]]:
    """The arguments of every call of the command line in a page's blocks, without those that hold placeholders."""
    lines = [line for _, text in blocks(page) for line in text.splitlines()]
    called = [line.split("python -m analysis ", 1)[1] for line in lines if "python -m analysis " in line]
    return [shlex.split(line.removesuffix(" &"), comments=True) for line in called if not PLACEHOLDER.search(line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_one_that_the_command_line_takes(page):
    for arguments in commands(page):
        parsed(arguments)


def test_there_are_commands_to_check_and_a_wrong_one_would_be_noticed():
    assert sum(len(commands(page)) for page in PAGES) > 25
    with pytest.raises(UserError):
        parsed(["record", "--no-such-flag"])


LESS = {"--count": "2", "--samples": "2", "--seq-len": "32", "--limit": "4", "--draws": "2"}
"""Sizes of the tutorial that do as well here."""


def smaller(arguments: list[str]) -> list[str]:
    """The same call with the sizes of `LESS`."""
    return [LESS.get(flag, value) for flag, value in zip(["", *arguments], arguments, strict=False)]


@pytest.mark.slow
def test_the_tutorial_runs_as_it_stands_and_the_sets_that_it_writes_are_read_with_tables_and_figures(
    tmp_path, monkeypatch, capsys
):
    """In one process, in its order, on little text; its last command only asks what a study takes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path / "home"))
    page = ROOT / "docs" / "tutorial.md"
    assert not [language for language, _ in blocks(page) if language == ELSEWHERE]
    assert "mkdir tutorial\n" in page.read_text(encoding="utf-8")
    Path("tutorial").mkdir()
    for arguments in commands(page):
        if arguments[0] != "study":  # its estimate starts workers; tests of the study ask it
            assert main(smaller(arguments)) == 0, (arguments, capsys.readouterr().err[-2000:])
    left = {path.name for path in (tmp_path / "tutorial").iterdir()}
    assert {"run.safetensors", "sinks", "sink-wanda", "wanda-noised", "accuracy.json"} <= left
    written = sinkscope.read(tmp_path / "tutorial" / "sinks")
    assert written.numbers and all(len(table.columns) for table in written.tables.values()) and written.tables
    recordings = [sinkscope.read(file) for file in (tmp_path / "tutorial" / "sinks").glob("*.safetensors")]
    assert recordings
    for each in (written, *recordings):
        names = sinkscope.figures(each)
        assert names and all(isinstance(sinkscope.figure(each, name), go.Figure) for name in names)


def test_every_target_of_make_and_every_module_that_is_named_is_there():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), (page.name, target)
        for module in re.findall(r"python -m ((?:benchmarks|docs|tests|training)(?:\.\w+)*)", text):
            assert find_spec(module) is not None, (page.name, module)


def test_every_program_that_is_named_reads_its_arguments_so_that_help_starts_no_hours_of_work():
    named = {
        module
        for page in PAGES
        for module in re.findall(r"python -m ((?:benchmarks|tests\.soak|training)(?:\.\w+)*)", page.read_text("utf-8"))
    }
    assert len(named) > 10
    for module in named:
        spec = find_spec(module)
        if spec is not None and spec.submodule_search_locations:
            spec = find_spec(f"{module}.__main__")
        assert spec is not None and spec.origin is not None, module
        assert "parse_args(" in Path(spec.origin).read_text(encoding="utf-8"), module


def test_every_option_and_variable_that_is_named_is_one():
    """Of Streamlit's command line, of dask's two programs, and SinkScope's own in the environment."""
    seen = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        options = re.findall(r"--([a-z]+\.\w+)", text)
        assert [option for option in options if option not in get_config_options()] == [], page.name
        assert set(re.findall(r"\bSINKSCOPE_[A-Z_]+\b", text)) <= set(VARIABLES), page.name
        called = re.findall(r"dask (scheduler|worker) ([^`\n]*)", text)
        for program, line in called:
            known = {name for option in DASK[program].params for name in (*option.opts, *option.secondary_opts)}
            assert [flag for flag in re.findall(r"--[\w-]+", line) if flag not in known] == [], (page.name, line)
        seen += len(options) + len(called)
    assert seen > 8


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


TITLES = {  # in italics and on no page: a publication's, or another program's
    *("Sink-Aware Pruning for Diffusion Language Models", "Adding Error Bars to Evals", "Share chart"),
    *("APIs & Services", "OAuth consent screen", "Credentials", "OAuth client ID", "Web application"),
}
SENTENCES = {"In the store", "Undiluted"}  # words of a table or a formula that the sentence explains


def test_every_button_tab_and_fold_that_is_named_is_on_a_page():
    """Numbers in a label may be written by the page: f"threshold {threshold:g}"."""
    sources = [path for folder in ("pages", "analysis") for path in (ROOT / folder).rglob("*.[jp][sy]")]
    said = re.sub(r"\{[^{}]*\}", "#", "\n".join(path.read_text(encoding="utf-8") for path in sources))
    seen = 0
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        labels = set(re.findall(r"(?<![*\w|\\])\*([A-Z][^*\n]{1,60})\*(?!\*)", text)) - TITLES - SENTENCES
        seen += len(labels)
        assert [label for label in labels if re.sub(r"[\d.]+", "#", label) not in said] == [], page.name
    assert seen > 30


def test_every_message_of_troubleshooting_is_one_that_is_said():
    sources = [ROOT / "app.py"]
    for folder in ("analysis", "cache", "pages", "benchmarks"):
        sources += sorted((ROOT / folder).rglob("*.py"))
    said = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    said = re.sub(r'"\s*\n\s*f?"', "", said)
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    rows = [line.split(" | ")[0].removeprefix("| ") for line in page.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 12
    parts = [part.strip(" '.") for row in rows for part in row.split("…")]
    assert [part for part in parts if len(part) > 5 and part not in said] == []
