"""Build the study that ships: `python -m training.study`. It resumes where it was cut off, in the store of the
environment, and writes what was found into the package.
"""

import argparse
import sys

from analysis.engine.studies import new_study
from analysis.specs import ModelSpec
from analysis.study.findings import EXAMPLE, write
from analysis.study.gather import gather
from training.shipping import ship

MOST_BYTES = 6 * 2**20  # of the repository


def main() -> int:
    """Study the bundled pair at the quick size and write the example. Returns 1 where a part failed."""
    spec = new_study(ModelSpec(source="bundled"))
    return ship("study", spec, lambda record, engine: write(gather(record, engine), EXAMPLE), EXAMPLE, MOST_BYTES)


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m training.study", description=__doc__).parse_args()
    sys.exit(main())
