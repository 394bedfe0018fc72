"""atheris against the two readers of binary files: `python -m tests.fuzz.readers recordings -max_total_time=60`.

Other options are libFuzzer's. An input that raises anything but a UserError is written to the folder it is run in, and
the exit status is not 0.
"""

import contextlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["analysis.recording", "analysis.models.weight_files", "safetensors"]):
    from analysis.errors import UserError
    from analysis.models.weight_files import header
    from analysis.recording.trajectory_file import open_trajectory

FOLDER = Path(tempfile.mkdtemp(prefix="sinkscope-fuzz-"))
EXAMPLES = Path(__file__).parents[1] / "recording" / "examples"
READERS: dict[str, Callable[[Path], object]] = {"recordings": open_trajectory, "weights": header}


def one(data: bytes) -> None:
    """Reads one input."""
    path = FOLDER / "input.safetensors"
    path.write_bytes(data)
    with contextlib.suppress(UserError):
        READERS[sys.argv[1]](path)


def seeds() -> Path:
    """A folder with whole files to begin with."""
    folder = FOLDER / "seeds"
    folder.mkdir()
    for file in EXAMPLES.rglob("*.safetensors"):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "empty").write_bytes((2).to_bytes(8, "little") + b"{}")
    return folder


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in READERS:
        sys.exit(f"Name a reader: {' or '.join(READERS)}.")
    atheris.Setup([sys.argv[0], *sys.argv[2:], str(seeds())], one)
    atheris.Fuzz()
