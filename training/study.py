"""Build the study that ships: `python -m training.study`. It resumes where it was cut off, in the store of the
environment, and writes what was found into the package.
"""

import sys
import time

from analysis.engine import Engine
from analysis.engine.studies import new_study
from analysis.specs import ModelSpec
from analysis.study.findings import EXAMPLE, write
from analysis.study.gather import gather
from cache.store import Store

MOST_BYTES = 6 * 2**20  # of the repository


def main() -> int:
    """Study the bundled pair at the quick size and write the example. Returns 1 where a part failed."""
    store = Store()
    engine = Engine(store, alone=True)
    try:
        record = engine.submit("study", new_study(ModelSpec(source="bundled")))
        while not record.ended:
            time.sleep(1)
            record = engine.job(record.id) or record
        if record.state != "done":
            print(record.reason, file=sys.stderr)
            return 1
        write(gather(record, engine), EXAMPLE)
    finally:
        engine.close()
        store.close()
    size = EXAMPLE.stat().st_size
    print(f"{EXAMPLE}: {size:,} bytes")
    return 0 if size <= MOST_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
