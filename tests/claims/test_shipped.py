"""The claims as tested on the model that ships: of that model, whole, and read as it was written."""

from dataclasses import replace

import pytest

from analysis.claims.evidence import EXAMPLE, read, write
from analysis.claims.verdicts import CANNOT_TELL, DOES_NOT_HOLD, HOLDS, HOLDS_WEAKLY, verdicts_on
from analysis.errors import UserError
from analysis.models.checkpoint import checkpoint_of, fingerprint
from analysis.specs import CLAIMS


def test_they_are_of_the_model_that_ships_and_every_claim_is_there() -> None:
    tested = read(EXAMPLE)
    checkpoint = checkpoint_of(tested.spec.model)
    assert tested.spec.model.source == "bundled" and checkpoint is not None
    assert tested.fingerprint == fingerprint(checkpoint)
    assert {*tested.evidence, *tested.missing} == {*CLAIMS} and not {*tested.evidence} & {*tested.missing}
    assert tested.environment["hardware"] and tested.command.startswith("python -m analysis claims")


def test_the_verdicts_follow_the_evidence() -> None:
    tested = read(EXAMPLE)

    def verdicts(evidence=tested.evidence) -> dict[str, str]:
        told = verdicts_on(tested.spec.claims, evidence, tested.missing, "it")
        return {one.claim.name: one.verdict for one in told}

    found = verdicts()
    assert {HOLDS, HOLDS_WEAKLY, DOES_NOT_HOLD} & {*found.values()}
    name = next(name for name, verdict in found.items() if verdict in (HOLDS, HOLDS_WEAKLY))
    excess = tested.evidence[name].excess
    turned = replace(excess, value=-excess.value, low=-excess.high, high=-excess.low)
    assert verdicts({**tested.evidence, name: replace(tested.evidence[name], excess=turned)})[name] == DOES_NOT_HOLD


def test_a_claim_added_since_cannot_be_told_until_it_is_tested() -> None:
    tested = read(EXAMPLE)
    newer = replace(tested.spec.claims[0], name="newer")
    *others, told = verdicts_on([*tested.spec.claims, newer], tested.evidence, tested.missing, "it")
    assert told.verdict == CANNOT_TELL and "Test the claims again" in told.sentence
    assert len(others) == len(tested.spec.claims) and all(one.evidence is not None for one in others)


def test_a_file_reads_as_it_was_written_and_a_damaged_one_is_refused(tmp_path) -> None:
    path = tmp_path / "claims.json.gz"
    write(read(EXAMPLE), path)
    assert path.read_bytes() == EXAMPLE.read_bytes()
    path.write_bytes(EXAMPLE.read_bytes()[:-40])
    with pytest.raises(UserError, match="holds no claims that this version can read"):
        read(path)
