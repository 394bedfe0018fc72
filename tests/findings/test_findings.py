"""The table of findings: every row has its rule, and is asked for."""

import ast

import pytest

from analysis.findings import FINDINGS, finding_of, findings_of, said_of
from analysis.registry import Implementations
from tests.helpers import ROOT

ASKED_BY = ("analysis", "pages", "sinkscope", "training")


def asked() -> set[str]:
    """First arguments of `finding_of`, `findings_of` and `said_of` in the product."""
    sources = [path.read_text() for folder in ASKED_BY for path in (ROOT / folder).rglob("*.py")]
    asking = [each.__name__ for each in (finding_of, findings_of, said_of)]
    telling = [source for source in sources if any(name in source for name in asking)]
    calls = [node for source in telling for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    first = [call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id in asking]
    names = [part for one in first for part in ((one.body, one.orelse) if isinstance(one, ast.IfExp) else (one,))]
    return {one.value for one in names if isinstance(one, ast.Constant) and isinstance(one.value, str)}


@pytest.mark.parametrize("name", FINDINGS)
def test_every_rule_is_there_and_says_in_a_sentence_what_it_does(name):
    assert Implementations(FINDINGS)[name].__doc__


def test_every_finding_is_asked_for_and_every_question_has_one():
    answers, questions = {name: {name, row.reads} for name, row in FINDINGS.items()}, asked()
    assert not [name for name, those in answers.items() if not those & questions]
    assert questions <= set().union(*answers.values())
