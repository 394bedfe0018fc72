"""What is patched of lm-eval is patched around a call."""

import logging
import subprocess
import sys

import datasets
import lm_eval.api.task
import lm_eval.utils
import pytest

from analysis.evaluation.lm_eval_fixes import may_have, quiet, templates_kept
from analysis.models.tokenizer import TemplateTooBig
from tests.helpers import ROOT

STATE = """
import logging, datasets, lm_eval.api.task
def state():
    loggers = [logging.getLogger(name).level for name in ("lm_eval", "datasets", "huggingface_hub")]
    return loggers, lm_eval.api.task.tqdm, datasets.are_progress_bars_disabled()
before = state()
import analysis.evaluation.tasks, analysis.evaluation.live
assert state() == before, (before, state())
"""


def test_importing_the_evaluation_changes_nothing_of_lm_eval():
    done = subprocess.run([sys.executable, "-c", STATE], cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr


def test_what_is_made_quiet_is_put_back():
    logger, bars = logging.getLogger("lm_eval"), lm_eval.api.task.tqdm
    before = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        with pytest.raises(RuntimeError), quiet():
            assert not logger.isEnabledFor(logging.WARNING)
            assert list(lm_eval.api.task.tqdm([1, 2], total=2)) == [1, 2]
            assert datasets.are_progress_bars_disabled()
            raise RuntimeError
        assert (logger.level, lm_eval.api.task.tqdm) == (logging.DEBUG, bars)
    finally:
        logger.setLevel(before)


def test_templates_are_compiled_once_and_say_what_they_said():
    apply, compile_template = lm_eval.utils.apply_template, lm_eval.utils.env.from_string
    with templates_kept():
        made = {id(lm_eval.utils.env.from_string("{{ a }} of {{ b }}")) for _ in range(3)}
        assert len(made) == 1
        assert [apply("{{ a }} of {{ b }}", {"a": a, "b": 2}) for a in range(2)] == ["0 of 2", "1 of 2"]
    assert lm_eval.utils.env.from_string == compile_template


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(100000000) %}x{% endfor %}",
        "{% for i in range(99999) %}{{ 'x' * 999 }}{% endfor %}",
        "{{ 'x' * 10**10 }}",
        "{{ [1] * 99999999 }}",
        "{{ 10 ** (10 ** 10) }}",
        "{{ n * 'ab' }}",
    ],
)
def test_a_template_that_writes_without_end_is_refused(template):
    """One of 10^8 passes took 12 GB."""
    with templates_kept(), pytest.raises(TemplateTooBig):
        lm_eval.utils.apply_template(template, {"n": 10**9})


def test_bounded_templates_say_what_lm_evals_say():
    doc = {"choices": {"text": ["a", "b"]}, "label": "1", "n": 3}
    texts = [
        "{{ choices.text[label|int] }}",
        "{{ 'ab' * n }} {{ 2 ** n }} {{ n * 2.5 }}",
        "{% for i in range(n) %}{{ i }}, {% endfor %}\n",
        "{{ 'a-b'|regex_replace('-', '+') }} {{ '{:02d}'.format(n) }}",
    ]
    wanted = [lm_eval.utils.apply_template(text, doc) for text in texts]
    with templates_kept():
        assert [lm_eval.utils.apply_template(text, doc) for text in texts] == wanted


def test_a_name_that_no_file_of_lm_eval_holds_is_no_task():
    assert may_have({"no such task", "hellaswag"}) and may_have({"mmlu_abstract_algebra"}) and may_have({"größe"})
    assert not may_have({"no_such_task_at_all"})
