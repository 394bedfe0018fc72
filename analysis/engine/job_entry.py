"""The entry of a job in a worker that may not have SinkScope.

What is handed to dask is a function that travels by value: scheduler and workers can read it without importing anything
of SinkScope, and it says what is missing.
"""

from collections.abc import Callable
from typing import Any

REQUIRED = ("torch", "transformers", "safetensors", "lm_eval")
"""Top-level modules that jobs import late."""


def job_entry() -> Callable[[str], dict[str, Any]]:
    """Return the function that runs a job, an `JobRequest` as JSON, in a worker.

    It is made here rather than defined in the module, so that it is pickled by value.
    """
    required = REQUIRED

    def run_order(text: str) -> dict[str, Any]:
        import importlib.util
        import socket
        import sys

        def lacks(name: str, own: bool) -> str:
            what = f"The worker on {socket.gethostname()} has no module '{name}'"
            if own:
                return (
                    f"{what}, which is SinkScope itself. Start it in SinkScope's folder with PYTHONPATH=$PWD before "
                    "'dask worker', as docs/cluster.md shows."
                )
            return f"{what}. Install it there: {sys.executable} -m pip install -r requirements.txt"

        try:
            from analysis.engine.worker import run_job
        except ModuleNotFoundError as error:
            missing = error.name or str(error)
            return {"unfit": lacks(missing, missing.split(".")[0] in ("analysis", "cache"))}
        for name in required:
            if importlib.util.find_spec(name) is None:
                return {"unfit": lacks(name, False)}
        try:
            return run_job(text)
        except ModuleNotFoundError as error:  # of what only this job needs
            return {"error": lacks(error.name or str(error), False)}

    return run_order
