"""The mutations that are run by hand each still have their one place in the code, and their tests."""

import pytest

from tests.helpers import ROOT
from tests.mutations import KILLED_AT_LEAST, MUTATIONS


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: f"{mutation.file}: {mutation.before}")
def test_a_mutation_has_one_place_and_a_file_of_tests(mutation):
    assert (ROOT / mutation.file).read_text(encoding="utf-8").count(mutation.before) == 1
    assert mutation.before != mutation.after and (ROOT / mutation.tests[0]).is_file()


def test_there_are_enough_mutations():
    assert len(MUTATIONS) > KILLED_AT_LEAST + 10
