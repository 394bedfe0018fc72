"""Provenance of a result: versions and hardware."""

import platform
from importlib import metadata
from typing import Any

import psutil

from analysis import __version__

_PACKAGES = ("torch", "transformers", "safetensors", "numpy", "lm_eval")


def environment() -> dict[str, Any]:
    """Versions and hardware of this process, as JSON. Imports torch to name the GPU: for workers."""
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "versions": {
            "sinkscope": __version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in _PACKAGES},
        },
        "hardware": {
            "system": f"{platform.system()} {platform.machine()}",
            "cores": psutil.cpu_count(),
            "threads": torch.get_num_threads(),
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
            "gpus": gpus,
        },
    }
