"""Count the project's files that four journeys enter: `python -m benchmarks.journeys FOLDER`.

FOLDER is a store filled by `python -m analysis demo`. A file counts where one of its functions is called; those that
all three pages enter, the frame around them, are told apart. Needs no idle machine.
"""

import argparse
import inspect
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parent.parent
PAGES = {
    "stored heatmap": ("pages/explore.py", {"tab": "Heads"}, ({"k": "2.5"}, {"k": "3"})),
    "k → mask plot": ("pages/prune.py", {}, ({"prune_sink_std": "2.5"}, {"prune_sink_std": "3"})),
    "stored evaluation": (
        "pages/runs.py",
        {"runs_view": "Accuracy"},
        ({"measure": "difference"}, {"measure": "accuracy"}),
    ),
}
"""A page, the address it is opened at, and what changes then, one after the other."""
NEITHER = (".venv", "benchmarks", "tests")


def entered(journey: Callable[[], Any]) -> set[str]:
    """Return the project's files, as paths from its root, of which a journey calls a function in any thread."""
    seen: set[str] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_flags & inspect.CO_OPTIMIZED:  # no module's or class's body
            seen.add(frame.f_code.co_filename)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        journey()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    paths = (Path(name) for name in seen if name.startswith(str(ROOT)))
    return {str(path.relative_to(ROOT)) for path in paths if path.relative_to(ROOT).parts[0] not in NEITHER}


def of_page(page: str, address: dict[str, str], changes: Iterable[dict[str, str]]) -> list[set[str]]:
    """Return the files that each drawing of a page enters as something of its address changes."""
    from streamlit.testing.v1 import AppTest

    test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    test.switch_page(page)
    test.query_params.update(address)
    test.run()
    files = []
    for change in changes:
        test.query_params.update(change)
        files.append(entered(test.run))
    if test.exception:
        raise SystemExit(f"{page} failed: {test.exception[0].message}")
    return files


def of_recording() -> set[str]:
    """Return the files between a prompt and the recording's file, without the dispatcher and its processes."""
    from analysis.job_context import SilentContext
    from analysis.jobs.recordings import record
    from analysis.specs import RecordSpec
    from cache.stores import Stores

    with tempfile.TemporaryDirectory() as folder:
        context = SilentContext(Path(folder), Stores(Path(folder) / "home"))
        return entered(lambda: record(RecordSpec(prompt="Once upon a time"), context))


def main() -> None:
    """Print one line per journey."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.journeys", description=__doc__)
    parser.add_argument("folder", type=Path, help="a store filled by `python -m analysis demo`")
    parser.add_argument("--files", action="store_true", help="name the files")
    options = parser.parse_args()
    os.environ["SINKSCOPE_HOME"] = str(options.folder)
    from pages.parts import lazy_section
    from pages.parts.session import engine

    lazy_section.WAITS = False  # no browser asks for what lies below
    pages = {name: of_page(*row) for name, row in PAGES.items()}
    engine().close()
    frame = set.intersection(*(first for first, _ in pages.values()))
    shown: dict[str, set[str]] = {name: first for name, (first, _) in pages.items()}
    for name, files in (shown | {"prompt → file": of_recording()}).items():
        framing = ""
        if name in pages:
            framing = f", {len(files & frame)} of them in every page; {len(pages[name][1])} files at the next change"
        print(f"{name}: {len(files)} files{framing}")
        if options.files:
            print("\n".join(f"  {'·' if file in frame else ' '} {file}" for file in sorted(files)))


if __name__ == "__main__":
    main()
