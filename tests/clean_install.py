"""The steps of the Dockerfile, without docker: `python -m tests.clean_install FOLDER [--installer uv]`.

Installs the checkout into a virtual environment of its own, runs the installed command from another folder, and has the
container's command serve a demonstration. It needs a package registry and some minutes.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.helpers import ROOT

RECORD = ["record", "--prompt", "tom has a dog .", "--gen-length", "8", "--steps", "4", "--block-length", "8"]


def main() -> int:
    """Print the time of each step. Raises CalledProcessError if one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="an empty folder for the environment and what it writes")
    parser.add_argument("--installer", choices=("pip", "uv", "pipx"), default="pip")
    options = parser.parse_args()
    folder: Path = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    home = {**os.environ, "SINKSCOPE_HOME": str(folder / "home"), "OMP_WAIT_POLICY": "PASSIVE"}
    home |= {"UV_TOOL_DIR": str(folder / "tools"), "UV_TOOL_BIN_DIR": str(folder / "bin")}
    home |= {"PIPX_HOME": str(folder / "tools"), "PIPX_BIN_DIR": str(folder / "bin")}
    venv = folder / "venv" / "bin"
    steps: dict[str, list[str]] = {"make an environment": [sys.executable, "-m", "venv", str(folder / "venv")]}
    if options.installer == "pip":
        steps["pip install ."] = [str(venv / "pip"), "install", "--quiet", str(ROOT)]
        command = venv / "sinkscope"
    else:
        steps[f"install {options.installer}"] = [str(venv / "pip"), "install", "--quiet", options.installer]
        verb = ["tool", "install", "--quiet"] if options.installer == "uv" else ["install"]
        steps[f"{options.installer} install ."] = [str(venv / options.installer), *verb, str(ROOT)]
        command = folder / "bin" / "sinkscope"
    steps["sinkscope --help"] = [str(command), "--help"]
    steps["sinkscope record"] = [str(command), *RECORD, "--out", str(folder / "recording.safetensors")]
    for name, words in steps.items():
        began = time.perf_counter()
        subprocess.run(words, cwd=folder, env=home, check=True, stdout=subprocess.DEVNULL)
        print(f"{name}: {time.perf_counter() - began:.1f} s", flush=True)
    server = [str(command), "dashboard", "--port", "8599"]
    began = time.perf_counter()
    with subprocess.Popen(
        server, cwd=folder, env={**home, "SINKSCOPE_DEMO": "1"}, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        address = next((line for line in running.stdout if line.startswith("SinkScope is at ")), "")
        print(f"sinkscope dashboard: {address.strip() or 'did not start'} after {time.perf_counter() - began:.1f} s")
        running.terminate()
    return 0 if address else 1


if __name__ == "__main__":
    sys.exit(main())
