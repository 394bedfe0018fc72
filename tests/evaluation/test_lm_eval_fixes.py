"""What is patched of lm-eval is patched around a call."""

import logging
import subprocess
import sys

import datasets
import lm_eval.api.task
import pytest

from analysis.evaluation.lm_eval_fixes import quiet
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
