"""What a phase of a long job took: seconds and peak memory."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

_INTERVAL = 0.02  # seconds between looks at the process's memory


class Phases:
    """Phases in order, each with its seconds and the most memory it held. torch's CUDA figures where there is a GPU."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Times and watches what runs inside; a phase that raises is not recorded."""
        process, stop = psutil.Process(), threading.Event()
        before = peak = process.memory_info().rss
        cuda = _cuda()
        if cuda is not None:
            cuda.reset_peak_memory_stats()

        def watch() -> None:
            nonlocal peak
            while not stop.wait(_INTERVAL):
                peak = max(peak, process.memory_info().rss)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        started = time.perf_counter()
        try:
            yield
        finally:
            stop.set()
            watcher.join()
        row = {
            "phase": name,
            "seconds": round(time.perf_counter() - started, 3),
            "peak_bytes": max(peak, process.memory_info().rss),
            "extra_bytes": max(0, max(peak, process.memory_info().rss) - before),
        }
        if cuda is not None:
            row["device_peak_bytes"] = cuda.max_memory_allocated()
        self.rows.append(row)


def _cuda() -> Any:
    import torch

    return torch.cuda if torch.cuda.is_available() else None
