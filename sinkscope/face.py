"""The Python interface: run the verbs of the command line, and hold their output as arrays, tables and Plotly figures.

Everything heavy is imported at first use, so `import sinkscope` is quick.
"""

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from analysis.evaluation.results import Results
    from analysis.recording.trajectory import Trajectory
    from sinkscope.results import Result

_By = Literal["token", "step", "head"]


def models() -> "pd.DataFrame":
    """Return the models offered by name: name, source, presence on this disk, and a summary."""
    import pandas as pd

    return pd.DataFrame(_summary("models", []))


def run(verb: str, out: str | Path | None = None, **flags: Any) -> Any:
    """Run a verb of the command line and return its summary, as `--json` prints it. Shows a progress bar.

    verb: record, sinks, ablate, inspect, prune, evaluate, sweep, study, … out: the file or folder to write. flags:
    those of the verb by name, with `_` for `-`: `run("prune", "pruned", sparsity=0.5)`. True is a bare flag; several
    values are a list. Raises UserError for flags that the verb does not take.
    """
    words = [] if out is None else ["--out", str(out)]
    return _summary(verb, [*words, *_words(verb, flags)])


def record(prompt: str, model: str = "bundled", out: str | Path | None = None, **flags: Any) -> "Trajectory":
    """Record one prompt while the model writes. Returns the recording, with mass (steps, layers, heads, positions).

    out: the file to keep it in; none is kept without. flags: as `python -m analysis record` takes them.
    """
    with _kept(out, "recording.safetensors") as file:
        run("record", file, prompt=prompt, model=model, **flags)
        return cast("Trajectory", read(file))


def prune(out: str | Path, model: str = "bundled", **flags: Any) -> Path:
    """Prune a model into the folder `out`, and return it. flags: as `python -m analysis prune` takes them."""
    run("prune", out, model=model, **flags)
    return Path(out)


def evaluate(
    model: str | Path = "bundled", compare: Sequence[str | Path] = (), out: str | Path | None = None, **flags: Any
) -> "Results":
    """Score a model and others on the same items, and return every answer.

    compare: the models to hold against it. out: the .json file to keep; none is kept without. flags: as `python -m
    analysis evaluate` takes them: tasks, limit, draws, …
    """
    with _kept(out, "accuracy.json") as file:
        given = {"compare": list(map(str, compare))} if compare else {}
        run("evaluate", file, model=str(model), **given, **flags)
        return cast("Results", read(file))


def read(path: str | Path) -> "Result":
    """Open SinkScope's output: a recording, a set of prompts, an evaluation, a pruned folder, a sweep or a study.

    Raises UserError for anything else.
    """
    from sinkscope.results import opened

    return opened(Path(path))


def sinks(recording: "Trajectory", by: _By = "token", **params: Any) -> "pd.DataFrame":
    """Return a recording's sinks as a table: a row per step and token, per step, or per layer and head.

    params: fields of `SinkParams`: definition, k, level, epsilon. Judged on the mass of all heads together.
    """
    from analysis.recording import frames
    from analysis.specs import SinkParams

    made = {"token": frames.token_frame, "step": frames.step_frame, "head": frames.head_frame}
    return made[by](recording, SinkParams(**params))


def job(kind: str, recording: "Trajectory | None" = None, out: str | Path | None = None, **options: Any) -> "Result":
    """Run a job of the pages that has no verb, and return its result. Shows a progress bar.

    kind: about a recording: 'attention_map', 'ablate', 'reference' (an untrained model), 'noise', 'lens', 'geometry';
    about a model: 'calibrate', 'suggest'. out: the file to keep, if any. options: as named in the row of
    `sinkscope.jobs.KINDS`. Raises UserError for options that the job does not take.
    """
    from sinkscope.jobs import run_job

    with _refusals_in_words():
        return run_job(kind, recording, None if out is None else Path(out), options)


def figures(result: "Result") -> dict[str, str]:
    """Return the names of the available figures of a result, each with its contents and options."""
    from sinkscope.drawing import figures_of

    return {name: row.help for name, row in figures_of(result).items()}


def figure(result: "Result", name: str, **options: Any) -> "go.Figure":
    """Draw a figure of a result as the pages do. name: of `figures`; options: as its help says.

    Raises UserError for a figure that there is not, and for options that it does not take.
    """
    from inspect import signature

    from analysis.errors import UserError
    from sinkscope.drawing import figures_of

    rows = figures_of(result)
    if name not in rows:
        raise UserError(f"There is no figure '{name}' of this result. There are: {', '.join(rows)}.")
    try:
        signature(rows[name].draw).bind(result, **options)
    except TypeError:
        raise UserError(f"These are not the options of the figure '{name}'. {rows[name].help}.") from None
    with _refusals_in_words():
        return rows[name].draw(result, **options)


def compare(results: "Results") -> "pd.DataFrame":
    """Return the paired differences of an evaluation in points, with 95 % intervals and p after Holm's correction.

    All models against the first, and each sink-aware one against its control and its published baseline.
    """
    import pandas as pd

    from analysis.evaluation import comparing, tables

    return pd.DataFrame(tables.difference_table(results, comparing.pairs(results)))


def explore(recording: "Trajectory", beside: "Trajectory | None" = None, height: int = 900) -> "Page":
    """Return the explorer of a recording, or of two beside each other, for the output of a notebook's cell."""
    from analysis.figures.explorer import explorer_html
    from analysis.recording.explored import explored
    from analysis.recording.frames import with_relative_mass

    shown = [each for each in (recording, beside) if each is not None]
    packed = explored([with_relative_mass(each) for each in shown], [each.info.model.source for each in shown])
    page = f"<!doctype html><meta charset=utf-8>{explorer_html(packed)}"
    return Page(page, height)


@dataclass(frozen=True)
class Page:
    """A page for the output of a notebook's cell, shut off from the notebook. html: the whole page."""

    html: str
    height: int

    def _repr_html_(self) -> str:
        style = f"width:100%;height:{self.height}px;border:0"
        return f'<iframe sandbox="allow-scripts" style="{style}" srcdoc="{escape(self.html)}"></iframe>'


@contextmanager
def _kept(out: str | Path | None, name: str) -> Iterator[Path]:
    """Yield where to write: the requested place, or a temporary folder."""
    if out is not None:
        yield Path(out)
        return
    with tempfile.TemporaryDirectory(prefix="sinkscope-") as folder:
        yield Path(folder) / name


def _words(verb: str, flags: dict[str, Any]) -> list[str]:
    """Return flags as words of a command line; lists with commas, or as several words where the verb takes these."""
    import argparse
    from importlib import import_module

    from analysis.__main__ import VERBS
    from analysis.command_line.flags import add_flags
    from analysis.errors import UserError

    if verb not in VERBS:
        raise UserError(f"There is no verb '{verb}'. There are: {', '.join(VERBS)}.")
    parser = argparse.ArgumentParser()
    add_flags(parser, import_module(VERBS[verb].module).FLAGS)
    several = {option for action in parser._actions if action.nargs == "+" for option in action.option_strings}
    words: list[str] = []
    for name, value in flags.items():
        flag = f"--{name.replace('_', '-')}"
        if value is False or value is None:
            continue
        words.append(flag)
        if isinstance(value, list | tuple):
            words += map(str, value) if flag in several else [",".join(map(str, value))]
        elif value is not True:
            words.append(str(value))
    return words


def _summary(verb: str, words: Sequence[str]) -> Any:
    from importlib import import_module

    from analysis.__main__ import VERBS, parsed

    options = parsed([verb, *words, "--json"])
    printed = io.StringIO()
    with _refusals_in_words(), contextlib.redirect_stdout(printed):
        import_module(VERBS[verb].module).run(options)
    return json.loads(printed.getvalue())


@contextmanager
def _refusals_in_words() -> Iterator[None]:
    """Raise a UserError for a value that a parameter refuses."""
    from pydantic import ValidationError

    from analysis.errors import UserError
    from analysis.specs import sentence

    try:
        yield
    except ValidationError as error:
        raise UserError(sentence(error)) from None
