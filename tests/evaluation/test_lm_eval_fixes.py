"""What is patched of lm-eval is patched around a call."""

import importlib
import logging
import sys

import datasets
import lm_eval.api.task
import lm_eval.utils
import pytest

import analysis
from analysis.evaluation.lm_eval_fixes import may_have, quiet, templates_kept
from analysis.models.tokenizer import TemplateTooBig


def test_importing_the_evaluation_changes_nothing_of_lm_eval(monkeypatch):
    """Imported once more, beside a state that nothing else gives."""
    for name in [name for name in sys.modules if name.split(".")[:2] == ["analysis", "evaluation"]]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(analysis, "evaluation")
    ours, bars = object(), sys.modules[datasets.are_progress_bars_disabled.__module__]
    monkeypatch.setattr(lm_eval.api.task, "tqdm", ours)
    monkeypatch.setattr(bars, "_hf_datasets_progress_bars_disabled", ours)
    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets", "huggingface_hub")]
    for level, logger in enumerate(loggers):
        monkeypatch.setattr(logger, "level", 101 + level)
    before = set(sys.modules)
    for name in ("tasks", "live"):
        importlib.import_module(f"analysis.evaluation.{name}")
    imported = sys.modules.keys() - before
    assert {f"analysis.evaluation.{name}" for name in ("tasks", "live", "lm_eval_fixes", "language_model")} <= imported
    assert [logger.level for logger in loggers] == [101, 102, 103]
    assert lm_eval.api.task.tqdm is ours and datasets.are_progress_bars_disabled() is ours
    for name in imported:
        del sys.modules[name]  # those that other tests hold come back


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
