"""Tasks of lm-eval that ask the same text every time they are loaded, never show an item its own answer, are quiet, and
compile a template once, within bounds.

Nothing is changed by importing this: what is patched is patched around a call, and put back.
"""

import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import datasets
import lm_eval.api.task
import lm_eval.tasks
import lm_eval.utils
from jinja2 import Environment
from lm_eval.api.task import ConfigurableTask, Task

from analysis.models.tokenizer import BoundedTemplates

_TALKATIVE = ("lm_eval", "datasets", "huggingface_hub")


@contextmanager
def quiet() -> Iterator[None]:
    """Without bars and warnings of lm-eval, `datasets` and the hub: jobs report their own progress and problems."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels, bars = [logger.level for logger in loggers], lm_eval.api.task.tqdm
    shown = not datasets.are_progress_bars_disabled()
    lm_eval.api.task.tqdm = lambda items, **options: items
    datasets.disable_progress_bars()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        lm_eval.api.task.tqdm = bars
        if shown:
            datasets.enable_progress_bars()
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _bounded(environment: Environment) -> Environment:
    """The same environment with bounds."""
    bounded = BoundedTemplates(
        loader=environment.loader,
        undefined=environment.undefined,
        keep_trailing_newline=environment.keep_trailing_newline,
    )
    bounded.filters |= environment.filters
    return bounded


@contextmanager
def templates_kept() -> Iterator[None]:
    """Compile each of a task's templates once, and bound what it writes: lm-eval compiles all of them anew for every
    item and metric, and bounds nothing."""
    before = lm_eval.utils.env
    environment = _bounded(before)
    compile_once: Any = lru_cache(maxsize=256)(environment.from_string)
    environment.from_string = compile_once  # type: ignore[method-assign]
    lm_eval.utils.env = environment
    try:
        yield
    finally:
        lm_eval.utils.env = before


@contextmanager
def nothing_remembered() -> Iterator[None]:
    """Items are made as in a fresh process. lm-eval keeps the modules of its tasks, and `datasets` what they made.

    GPQA's choices are shuffled by a random generator of its module, which goes on from call to call: with what is kept
    of some calls the others would ask another text.
    """
    for name, module in list(sys.modules.items()):
        if "__mtime__" in getattr(module, "__dict__", {}):  # lm-eval's mark on a task's module
            del sys.modules[name]
    before = datasets.is_caching_enabled()
    datasets.disable_caching()
    try:
        yield
    finally:
        if before:
            datasets.enable_caching()


def may_have(names: Iterable[str]) -> bool:
    """Return True if one of these names may be a task, group or tag of lm-eval's own: a word in one of its files.

    lm-eval would parse its thousands of files to tell; this only reads them.
    """
    wanted = [name.encode() for name in names]
    # YAML can write a letter beyond ASCII as a code.
    if not all(name.isascii() for name in wanted):
        return True
    word = re.compile(rb"(?<!\w)(?:" + b"|".join(map(re.escape, wanted)) + rb")(?!\w)")
    for folder, _, files in os.walk(Path(lm_eval.tasks.__file__).parent):
        for file in files:
            if file.endswith(".yaml"):
                with open(os.path.join(folder, file), "rb") as content:
                    text = content.read()
                if any(name in text for name in wanted) and word.search(text):
                    return True
    return False


def settle(task: Task) -> None:
    """Make a task's items once, where lm-eval makes them at every look, and keep an item out of its own examples.

    lm-eval leaves the item out only where the split of the examples is named and is the test split, and finds it only
    where it was made the same (github.com/EleutherAI/lm-evaluation-harness/issues/4145).
    """
    if not isinstance(task, ConfigurableTask):
        return
    config, made = task.config, {}
    process = config.process_docs
    if process is not None:

        def once(split: datasets.Dataset) -> datasets.Dataset:
            if id(split) not in made:
                made[id(split)] = split, process(split)  # the split is kept, so that no other takes its id
            return made[id(split)][1]

        config.process_docs = once
    scored_split = config.test_split or config.validation_split
    examples = task.fewshot_cfg.split or config.training_split or config.validation_split or config.test_split
    if examples == scored_split and task.fewshot_cfg.samples is None:
        task.sampler.replace_df(list(task.eval_docs))
        task.fewshot_cfg.split = config.test_split
