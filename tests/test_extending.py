"""The examples of docs/extending.md run as they stand there, and every table that it names has one."""

import re
import runpy
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from traceback import print_exc

from distributed.utils import get_mp_context
from streamlit.testing.v1 import AppTest

from tests.helpers import ROOT

DOCS = ROOT / "docs"
SECTIONS = dict(part.split("\n", 1) for part in (DOCS / "extending.md").read_text(encoding="utf-8").split("\n## ")[1:])
FILES = sorted(path for path in (DOCS / "examples").glob("*.py") if path.name != "__init__.py")


def run_all(files: Sequence[Path], log: Path) -> None:
    """Run files one after the other, and write their names and what they print. A busy machine is no failure."""
    AppTest.from_function = partial(AppTest.from_function, default_timeout=300)  # type: ignore[method-assign]
    with log.open("w", encoding="utf-8") as output, redirect_stdout(output), redirect_stderr(output):
        for file in files:
            print(file)
            try:
                runpy.run_path(str(file))
            except BaseException:
                print_exc()
                raise


def test_every_example_runs(tmp_path):
    """In a process of their own, since they change the tables for good. The last file printed is that which failed."""
    files = list(FILES)
    for section, text in SECTIONS.items():
        files.append(tmp_path / f"{section}.py")
        files[-1].write_text("\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)), encoding="utf-8")
    assert [file.name for file in files if "assert " not in file.read_text(encoding="utf-8")] == []
    log = tmp_path / "log"
    process = get_mp_context().Process(target=run_all, args=(files, log))  # forked, see tests/workers.py
    process.start()
    process.join()
    assert process.exitcode == 0, log.read_text(encoding="utf-8")


def test_every_table_to_add_to_is_in_the_example_of_its_row():
    page = (DOCS / "extending.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")][2:]
    sections = {title.lower().replace(" ", "-"): text for title, text in SECTIONS.items()}
    linked = set()
    for row in rows:
        targets = re.findall(r"\]\(([^)]+)\)", row)
        linked |= set(targets)
        told = "".join(
            sections[target[1:]] if target.startswith("#") else (DOCS / target).read_text(encoding="utf-8")
            for target in targets
        )
        assert [name for name in re.findall(r"`([A-Z][A-Z_]{4,})`", row) if name not in told] == [], row
    assert {f"examples/{path.name}" for path in FILES} <= linked
