"""The examples of docs/extending.md run as they stand there, and no table of the architecture lacks one."""

import re
import subprocess
import sys

from tests.helpers import ROOT

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
EXAMPLES = {
    part.splitlines()[0]: "\n".join(re.findall(r"```python\n(.*?)```", part, re.DOTALL))
    for part in PAGE.split("\n## ")[1:]
}
RUNNER = """
import runpy, sys
for file in sys.argv[1:]:
    print(file, flush=True)
    runpy.run_path(file)
"""


def test_every_example_runs(tmp_path):
    """In a process of their own, since they change the tables for good. The last file printed is that which failed."""
    files = []
    for section, code in EXAMPLES.items():
        assert "assert " in code, section
        files.append(tmp_path / f"{section}.py")
        files[-1].write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", RUNNER, *files], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_table_to_add_to_is_named_in_the_page():
    architecture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = architecture.split("## Adding something")[1].splitlines()
    tables = {name for row in rows if row.startswith("|") for name in re.findall(r"`([A-Z][A-Z_]{4,})`", row)}
    assert tables
    assert not {name for name in tables if f"`{name}`" not in PAGE}
