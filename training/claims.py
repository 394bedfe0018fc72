"""Test the claims that ship: `python -m training.claims`. It resumes where it was cut off, in the store of the
environment, and writes the evidence into the package.
"""

import argparse
import sys
from datetime import UTC, datetime

from analysis.claims.evidence import EXAMPLE, TestedClaims, found_by, write
from analysis.claims.verdicts import evidence_of
from analysis.engine import Engine, JobRecord
from analysis.engine.studies import claims_command, new_claims
from analysis.job_context import environment
from analysis.specs import ClaimsSpec, ModelSpec
from training.shipping import ship

MOST_BYTES = 2**17  # of the repository


def main() -> int:
    """Test the claims on the bundled diffusion model at the quick size and write the example. Returns 1 where a part
    failed."""
    spec = new_claims(ModelSpec(source="bundled"))
    return ship("claims", spec, lambda record, engine: write(shipped(record, engine), EXAMPLE), EXAMPLE, MOST_BYTES)


def shipped(record: JobRecord, engine: Engine) -> TestedClaims:
    """Return what a finished run found. Raises UserError for a damaged file."""
    spec, found = record.parameters(ClaimsSpec), found_by(record, engine)
    evidence, missing = evidence_of(spec.claims, found)
    created = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="seconds")
    return TestedClaims(
        spec=spec,
        evidence=evidence,
        missing=missing,
        fingerprint=found.fingerprint,
        created=created,
        environment=environment(),
        command=claims_command(spec),
    )


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m training.claims", description=__doc__).parse_args()
    sys.exit(main())
