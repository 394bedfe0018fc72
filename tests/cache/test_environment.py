"""Environment variables: one table, checked at every door, told in one sentence."""

import ast
import re

import pytest

from analysis.__main__ import main
from analysis.engine import Engine
from analysis.engine.worker import wire_limit
from analysis.errors import UserError
from analysis.specs import PruneSpec, StatisticsParams
from cache import environment
from cache.environment import VARIABLES, VariableError, parse_size, problems, size_text, value
from cache.opening import StoreError
from cache.store import Store
from tests.test_walls import ROOT, SOURCES

BAD = {
    "SINKSCOPE_WIRE_LIMIT": "lots",
    "SINKSCOPE_MEMORY_LIMIT": "0",
    "SINKSCOPE_DEVICES": "gpu0",
    "SINKSCOPE_SCHEDULER": "head:8786",
    "OMP_NUM_THREADS": "-2",
}


@pytest.mark.parametrize(("name", "text"), BAD.items())
def test_what_a_variable_may_not_hold_is_one_sentence(name, text, monkeypatch, tmp_path, capsys, store):
    monkeypatch.setenv(name, text)
    told = problems()
    assert len(told) == 1
    assert told[0].startswith(f"The environment variable {name} is '{text}'. Expected {VARIABLES[name].expected}.")
    assert main(["models"]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"error: {told[0]}\n")
    with pytest.raises(UserError, match=name):
        Engine(store)


def test_a_home_that_can_be_none_is_said(tmp_path, monkeypatch):
    for text in ("~nobody-of-this-name/x", "x" * 300):
        monkeypatch.setenv("SINKSCOPE_HOME", text)
        with pytest.raises(VariableError, match="Expected a folder"):
            value("SINKSCOPE_HOME")
        with pytest.raises(StoreError, match="Expected a folder"):
            Store()
    monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path / "new"))
    assert Store().root == tmp_path / "new"


def test_sizes_take_units_everywhere(monkeypatch):
    for text, size in (("2GB", 2 * 10**9), ("24 GiB", 24 * 2**30), ("512MiB", 2**29), ("1e9", 10**9)):
        assert parse_size(text) == size
        monkeypatch.setenv("SINKSCOPE_MEMORY_LIMIT", text)
        assert value("SINKSCOPE_MEMORY_LIMIT") == size
        assert StatisticsParams(byte_budget=text).byte_budget == size
        assert PruneSpec(byte_budget=text).byte_budget == size
    for text, size in (("2GB", 2 * 10**9), ("0.5", 2**19), ("64", 64 * 2**20), ("", 64 * 2**20)):
        monkeypatch.setenv("SINKSCOPE_WIRE_LIMIT", text)
        assert wire_limit() == size
    for text in ("", "GB", "lots", "-1GB", "infGB", "2GB more"):
        with pytest.raises(ValueError, match=r"no size|below|unit|number"):
            parse_size(text)
    for size in (0, 1, 1023, 1024, 3 * 2**30, 10**9, 2**40 + 1):
        assert parse_size(size_text(size)) == size


def test_a_size_on_the_command_line_is_read_or_refused(tmp_path, capsys):
    assert main(["prune", "--out", str(tmp_path / "p"), "--byte-budget", "lots"]) == 2
    assert "Memory for kept inputs: 'lots' is no size" in capsys.readouterr().err


def test_every_variable_that_is_read_is_in_the_table():
    read = set()
    for path in SOURCES:
        if path == ROOT / "cache" / "environment.py":
            continue
        text = path.read_text(encoding="utf-8")
        read |= set(re.findall(r"SINKSCOPE_\w+", text))
        if "environ" not in text and "getenv" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            name = None
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "os.getenv"):
                name = node.args[0]
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
                name = node.slice
            if isinstance(name, ast.Constant):
                read.add(name.value.upper())
    for path in (ROOT / "docs").glob("*.md"):
        read |= set(re.findall(r"SINKSCOPE_\w+", path.read_text(encoding="utf-8")))
    assert {"SINKSCOPE_WIRE_LIMIT", "CUDA_VISIBLE_DEVICES"} <= read
    assert read - set(VARIABLES) == set()
    assert {name for name, row in VARIABLES.items() if not row.shared} <= read | {"SINKSCOPE_HOME"}
    assert environment.value("SINKSCOPE_SCHEDULER") is None
