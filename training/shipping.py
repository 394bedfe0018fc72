"""The making of a file that ships: one job runs to its end, in the store of the environment, and what it found is
written into the package.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from analysis.engine import Engine, JobRecord
from analysis.specs.base import Spec
from cache.store import Store


def ship(
    kind: str,
    spec: Spec,
    write: Callable[[JobRecord, Engine], None],
    file: Path,
    most_bytes: int,
    devices: list[str] | None = None,
) -> int:
    """Run a job, or resume it where it was cut off, and write what it found. Returns 1 where a part failed or the file
    is too large. most_bytes: that the file may have. devices: as of
    `Engine`.
    """
    store = Store()
    engine = Engine(store, devices=devices, alone=True)
    try:
        record = engine.submit(kind, spec)
        while not record.ended:
            time.sleep(1)
            record = engine.job(record.id) or record
        if record.state != "done":
            print(record.reason, file=sys.stderr)
            return 1
        write(record, engine)
    finally:
        engine.close()
        store.close()
    size = file.stat().st_size
    print(f"{file}: {size:,} bytes")
    return 0 if size <= most_bytes else 1
