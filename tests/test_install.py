"""The package that `pip install .` makes: complete, out of the way of other packages, and the same program."""

import os
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from analysis.__main__ import main
from sinkscope import ROOT as IMPORTED_FROM
from tests.clean_install import RECORD, dockerfile
from tests.helpers import ROOT, free_port

SHIPPED = ("analysis", "cache", "pages")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The wheel, unpacked as pip does it."""
    folder = tmp_path_factory.mktemp("install")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def installed(site: Path, code: list[str], cwd: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run Python as if the wheel were installed, in a folder of somebody's."""
    return subprocess.run(
        [sys.executable, *code], cwd=cwd, env=environment(site, cwd, **changes), capture_output=True, text=True
    )


def environment(site: Path, home: Path, **changes: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(site), "SINKSCOPE_HOME": str(home / "home"), **changes}


def test_the_checkout_is_importable_by_the_same_name():
    assert IMPORTED_FROM == ROOT


def test_the_wheel_holds_every_tracked_file_of_the_product_and_one_top_level_package(site):
    tracked = subprocess.run(["git", "ls-files", *SHIPPED], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    missing = [name for name in tracked.splitlines() if not (site / "sinkscope" / "_installed" / name).is_file()]
    assert not missing and tracked.count("\n") > 400
    assert (site / "sinkscope/_installed/.streamlit/config.toml").is_file()
    assert {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")} == {"sinkscope"}


def test_its_requirements_are_those_of_requirements_txt(site):
    metadata = next(site.glob("*.dist-info")).joinpath("METADATA").read_text(encoding="utf-8")
    required = {line.removeprefix("Requires-Dist: ") for line in metadata.splitlines() if line.startswith("Requires-D")}
    written = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert required == {line.strip() for line in written if line.strip() and not line.startswith("#")}
    version = next(line for line in metadata.splitlines() if line.startswith("Version: ")).removeprefix("Version: ")
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_container_copies_all_that_the_package_is_made_of(site, tmp_path):
    source = dockerfile().copy_into(tmp_path)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == {
        str(path.relative_to(site))
        for path in site.rglob("*")
        if path.is_file() and ".dist-info" not in str(path) and "__pycache__" not in str(path)
    }


@pytest.mark.slow
def test_the_containers_command_serves_the_first_page_of_a_demonstration_and_is_healthy(site, tmp_path):
    """As the Dockerfile says it, at another port, with what its health check asks."""
    image, port = dockerfile(), str(free_port())
    with serving(site, tmp_path, [word.replace("8501", port) for word in image.command[1:]], SINKSCOPE_DEMO="1"):
        health = [sys.executable, *(word.replace("8501", port) for word in image.health[1:])]
        assert subprocess.run(health, timeout=60).returncode == 0
        with urllib.request.urlopen(f"http://localhost:{port}", timeout=60) as answer:
            assert answer.status == 200 and "default-src 'self'" in answer.headers["content-security-policy"]


@contextmanager
def serving(site: Path, home: Path, words: list[str], **changes: str) -> Iterator[None]:
    """An installed server, once it has printed its address."""
    server = subprocess.Popen(
        [sys.executable, "-m", "sinkscope", *words],
        cwd=home,
        env=environment(site, home, **changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert server.stdout is not None
        next(line for line in server.stdout if line.startswith("SinkScope is at "))
        yield
    finally:
        server.terminate()
        server.wait(30)


def test_help_names_the_verbs_and_the_installed_command(site, tmp_path):
    done = installed(site, ["-m", "sinkscope", "--help"], tmp_path)
    assert done.returncode == 0 and "usage: sinkscope" in done.stdout
    assert "record" in done.stdout and "dashboard" in done.stdout


def test_bad_input_is_one_line_there_too(site, tmp_path):
    done = installed(site, ["-m", "sinkscope", "record", "--no-such-flag"], tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "sinkscope record --help" in done.stderr


def test_a_users_own_cache_package_is_neither_used_nor_shadowed_in_silence(site, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "__init__.py").write_text("MINE = True\n")
    ours = installed(site, ["-c", "import sinkscope, cache; print(hasattr(cache, 'MINE'))"], tmp_path)
    assert ours.stdout == "False\n"
    clash = installed(site, ["-c", "import cache, sinkscope"], tmp_path)
    assert clash.returncode == 1 and "SinkScope has a package 'cache'" in clash.stderr


@pytest.mark.slow
def test_installed_and_checkout_give_equal_recordings(site, tmp_path, monkeypatch):
    monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path / "checkout"))
    assert main([*RECORD, "--out", str(tmp_path / "a.safetensors")]) == 0
    there = installed(site, ["-m", "sinkscope", *RECORD, "--out", "b.safetensors"], tmp_path)
    assert there.returncode == 0, there.stderr
    first, second = load_file(tmp_path / "a.safetensors"), load_file(tmp_path / "b.safetensors")
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name], equal_nan=first[name].dtype.kind == "f") for name in first)
