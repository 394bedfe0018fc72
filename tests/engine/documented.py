"""Commands of docs/cluster.md as they stand there, run on this machine alone: `head` is the loopback interface."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.helpers import ROOT

TEXT = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
HOST = "127.0.0.1"


def block(language: str, part: str) -> str:
    """The first fenced block of a language that holds `part`."""
    found = re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    return next(text for text in found if part in text)


def lines(part: str) -> list[str]:
    """The commands of the page that hold `part`, without the name of the machine that they are for."""
    return [line for line in re.findall(r"^(?:head|gpu1)\$ (.*)$", TEXT, re.MULTILINE) if part in line]


def certificates(folder: Path) -> None:
    """Makes the certificates and `tls.yaml` in a folder, which is then dask's of configuration."""
    subprocess.run(["bash", "-ec", block("", "openssl")], cwd=folder, check=True, capture_output=True)
    (folder / "tls.yaml").write_text(block("yaml", "require-encryption").replace("/home/me/tls", str(folder)))


@contextlib.contextmanager
def process(line: str, folder: Path, port: int, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """One command, with the port in place of 8786, in a process group of its own that is ended with it.

    folder: where `cd sinkscope` finds SinkScope, with dask's configuration. dask's programs listen on the loopback
    interface alone.
    """
    line = line.replace("head:8786", f"{HOST}:{port}").replace("--port 8786", f"--port {port}")
    line = re.sub(r"(dask (?:worker|scheduler)[^;]*)", rf"\1 --host {HOST}", line)
    with contextlib.suppress(FileExistsError):
        (folder / "sinkscope").symlink_to(ROOT)
    given = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    given |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "DASK_CONFIG": str(folder), **environment}
    with log.open("wb") as output:
        started = subprocess.Popen(
            ["bash", "-c", line], cwd=folder, env=given, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            yield started
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.wait()
