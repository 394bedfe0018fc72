"""Install the checkout on a clean footing and use it: `python -m tests.clean_install FOLDER [--installer uv]`.

Installs into a virtual environment of its own, runs the installed command from another folder, and serves a
demonstration. With --container it follows the Dockerfile instead, without docker: the same files, command, user id,
volume and health check. It needs a package registry and some minutes.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.helpers import ROOT, free_port

RECORD = ["record", "--prompt", "tom has a dog .", "--gen-length", "8", "--steps", "4", "--block-length", "8"]
_SERVED = "SinkScope is at "
_HEALTHY = 60.0  # seconds within which a container is to answer its health check


@dataclass(frozen=True)
class Dockerfile:
    """The parts of the Dockerfile that can be followed without docker. copied: sources and target of each COPY. user:
    the id that the command runs as. health: the command of the health check.
    """

    copied: Sequence[tuple[Sequence[str], str]]
    user: int
    environment: Mapping[str, str]
    health: Sequence[str]
    command: Sequence[str]

    def copy_into(self, folder: Path) -> Path:
        """Copy what the image gets, and return the folder that stands for its /src."""
        for sources, target in self.copied:
            into = folder / target.strip("/")
            into.mkdir(parents=True, exist_ok=True)
            for source in sources:
                if (ROOT / source).is_dir():
                    ignored = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(ROOT / source, into, dirs_exist_ok=True, ignore=ignored)
                else:
                    shutil.copy(ROOT / source, into)
        return folder / "src"


def dockerfile() -> Dockerfile:
    """Read the Dockerfile."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()

    def after(instruction: str) -> list[str]:
        return [line.removeprefix(f"{instruction} ") for line in lines if line.startswith(f"{instruction} ")]

    (made,) = (line.split() for line in after("RUN") if line.startswith("useradd "))
    return Dockerfile(
        copied=[(line.split()[:-1], line.split()[-1]) for line in after("COPY")],
        user=int(made[made.index("--uid") + 1]),
        environment=dict(setting.split("=", 1) for line in after("ENV") for setting in line.split()),
        health=json.loads(after("HEALTHCHECK")[0].partition(" CMD ")[2]),
        command=json.loads(after("ENTRYPOINT")[0]),
    )


def main() -> int:
    """Print the time of each step. Raises CalledProcessError if one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="an empty folder for the environment and what it writes")
    parser.add_argument("--installer", choices=("pip", "uv", "pipx"), default="pip")
    parser.add_argument("--container", action="store_true", help="follow the Dockerfile; as root, with its user id")
    parser.add_argument("--python", default=sys.executable, help="the Python of the environment. Default: this one")
    options = parser.parse_args()
    folder: Path = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # the container's user reads what lies in it
    steps = {"make an environment": [options.python, "-m", "venv", str(folder / "venv")]}
    _timed(steps, folder, dict(os.environ))
    return _container(folder) if options.container else _installed(folder, options.installer)


def _timed(steps: Mapping[str, Sequence[str]], folder: Path, environment: Mapping[str, str]) -> None:
    for name, words in steps.items():
        began = time.perf_counter()
        subprocess.run(words, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        print(f"{name}: {time.perf_counter() - began:.1f} s", flush=True)


def _installed(folder: Path, installer: str) -> int:
    """Install with pip, uv or pipx, and use the command."""
    home = {**os.environ, "SINKSCOPE_HOME": str(folder / "home"), "OMP_WAIT_POLICY": "PASSIVE"}
    home |= {"UV_TOOL_DIR": str(folder / "tools"), "UV_TOOL_BIN_DIR": str(folder / "bin")}
    home |= {"PIPX_HOME": str(folder / "tools"), "PIPX_BIN_DIR": str(folder / "bin")}
    venv = folder / "venv" / "bin"
    steps: dict[str, list[str]] = {}
    if installer == "pip":
        steps["pip install ."] = [str(venv / "pip"), "install", "--quiet", str(ROOT)]
        command = venv / "sinkscope"
    else:
        steps[f"install {installer}"] = [str(venv / "pip"), "install", "--quiet", installer]
        verb = ["tool", "install", "--quiet"] if installer == "uv" else ["install"]
        steps[f"{installer} install ."] = [str(venv / installer), *verb, str(ROOT)]
        command = folder / "bin" / "sinkscope"
    steps["sinkscope --help"] = [str(command), "--help"]
    steps["sinkscope --help, again"] = [str(command), "--help"]
    steps["sinkscope record"] = [str(command), *RECORD, "--out", str(folder / "recording.safetensors")]
    _timed(steps, folder, home)
    server = [str(command), "dashboard", "--port", str(free_port())]
    began = time.perf_counter()
    with subprocess.Popen(
        server, cwd=folder, env={**home, "SINKSCOPE_DEMO": "1"}, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        address = next((line for line in running.stdout if line.startswith(_SERVED)), "")
        print(f"sinkscope dashboard: {address.strip() or 'did not start'} after {time.perf_counter() - began:.1f} s")
        running.terminate()
    return 0 if address else 1


def _container(folder: Path) -> int:
    """Follow the Dockerfile: install its files, and run its command as its user until the health check answers."""
    image, venv = dockerfile(), folder / "venv" / "bin"
    source = image.copy_into(folder)
    _timed({"pip install /src": [str(venv / "pip"), "install", "--quiet", str(source)]}, folder, dict(os.environ))
    shutil.rmtree(source)
    home, data, port = folder / "user", folder / "data", str(free_port())
    root = os.geteuid() == 0
    for place in (home, data):
        place.mkdir()
        if root:
            os.chown(place, image.user, image.user)
    inside = {"PATH": f"{venv}:{os.defpath}", "HOME": str(home), "SINKSCOPE_DEMO": "1", "LANG": "C.UTF-8"}
    inside |= {name: value.replace("/data", str(data)) for name, value in image.environment.items()}
    user = image.user if root else None
    began = time.perf_counter()
    with subprocess.Popen(
        [word.replace("8501", port) for word in image.command],
        cwd=home,
        env=inside,
        user=user,
        group=user,
        extra_groups=[] if root else None,
        stdout=subprocess.DEVNULL,
    ) as running:
        try:
            health = [word.replace("8501", port) for word in image.health]
            healthy = False
            while not healthy and running.poll() is None and time.perf_counter() - began < _HEALTHY:
                asked = subprocess.run(health, env=inside, stderr=subprocess.DEVNULL, user=user, group=user)
                healthy = asked.returncode == 0
                time.sleep(0.5)
            owner = running.poll() is None and Path(f"/proc/{running.pid}").stat().st_uid
            print(f"container: healthy {healthy} after {time.perf_counter() - began:.1f} s, as uid {owner}")
        finally:
            running.terminate()
    written = sorted(path.name for path in data.iterdir())
    owners = {path.stat().st_uid for path in data.rglob("*")}
    print(f"store in the volume: {', '.join(written) or 'nothing'}, of uid {', '.join(map(str, owners))}")
    return 0 if healthy and written and (not root or owners == {image.user}) else 1


if __name__ == "__main__":
    sys.exit(main())
