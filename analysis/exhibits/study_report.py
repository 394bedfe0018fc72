"""The report of a study: one HTML file that needs no network, and a folder of its figures and tables."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from analysis.exhibits import study as exhibits
from analysis.exhibits.story import playback_of, story_of
from analysis.figures.export import page_html, pictures
from analysis.figures.story.document import Appendix, document_html
from analysis.findings.sets import NOISE
from analysis.specs import MASS_TOLERANCE, QUESTION, STUDY_PARTS, StudySpec
from analysis.specs.recording_sets import CLUSTER
from analysis.statistics.decisions import family_words
from analysis.study import rules
from analysis.study.findings import PROMPTS_FILE, Findings
from analysis.table_files import csv_of_table
from analysis.words import percent

NOTHING = "Nothing lies beyond its nulls."
REPORT, NUMBERS, MISSING = "report.html", "study.json", "pictures.txt"


def report_html(findings: Findings) -> str:
    """Return the whole study as one HTML document."""
    settings = {
        "command": findings.command,
        "made": findings.created,
        "seconds of work": findings.seconds,
        "parameters": findings.spec,
        "environment": findings.environment,
    }
    return document_html(
        story_of(findings), playback_of(findings), findings.explorer, _appendix(findings), settings, _numbers(findings)
    )


def _numbers(findings: Findings) -> dict[str, Any]:
    """Return all numbers without the recordings to watch."""
    return findings.model_dump(mode="json", exclude={"explorer", "playback"})


def report_folder(findings: Findings, with_pictures: bool = True) -> bytes:
    """Return the report, its figures as HTML, PNG and SVG, its tables as CSV, the verdict as text and all numbers as
    JSON, zipped. with_pictures: include PNG and SVG, which takes a browser some seconds.
    """
    drawn, missing = _pictures(findings) if with_pictures else ({}, "")
    contents: dict[str, str | bytes] = {**files(findings), **drawn}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
        if missing:
            archive.writestr(MISSING, f"{missing}\n")
    return packed.getvalue()


def write_folder(findings: Findings, folder: Path) -> str:
    """Write the report's files into an existing folder. Return what is missing, in a sentence."""
    for name, content in files(findings).items():
        (folder / name).write_text(content, encoding="utf-8")
    drawn, missing = _pictures(findings)
    for name, picture in drawn.items():
        (folder / name).write_bytes(picture)
    return missing


def _pictures(findings: Findings) -> tuple[dict[str, bytes], str]:
    every = exhibits.all_exhibits(findings).items()
    return pictures({f"figure-{name}": exhibit.figure for name, exhibit in every if exhibit.figure.data})


def files(findings: Findings) -> dict[str, str]:
    """Return the content of every file of the report by its name."""
    contents = {
        REPORT: report_html(findings),
        NUMBERS: json.dumps(findings.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n",
        "verdict.txt": "\n\n".join(_verdict_lines(findings)) + "\n",
        "contrasts.csv": csv_of_table(exhibits.contrasts_table(findings)),
        "settings.csv": csv_of_table(exhibits.settings_table(findings)),
    }
    spec = findings.parameters
    if spec.own_prompts:
        contents[PROMPTS_FILE] = _prompt_lines(spec)
    for name, exhibit in exhibits.all_exhibits(findings).items():
        contents[f"figure-{name}.html"] = page_html(exhibit.title, {"command": findings.command}, [exhibit])
        if len(exhibit.table.columns):
            contents[f"figure-{name}.csv"] = csv_of_table(exhibit.table)
    return contents


def _prompt_lines(spec: StudySpec) -> str:
    """Return the study's own prompts, one line of JSON each, as `--prompts` reads them."""
    keys = spec.own_keys or ("",) * len(spec.own_prompts)
    rows = (
        {"prompt": text} | ({"cluster": key.removeprefix(CLUSTER)} if key.startswith(CLUSTER) else {})
        for text, key in zip(spec.own_prompts, keys, strict=True)
    )
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def _appendix(findings: Findings) -> list[Appendix]:
    """Return the basis of the findings: every part, the verdicts with every test, and all differences."""
    parts = []
    standings = {part.name: part.standing for part in findings.parts}
    for name, part in STUDY_PARTS.items():
        said = [
            f"{model}: {sentence}"
            for model, sentences in exhibits.sayings(findings, name).items()
            for sentence in sentences or (NOTHING,)
        ]
        shown = exhibits.part_exhibits(findings, name).values()
        figures = [f"{exhibit.title}. {exhibit.told}" for exhibit in shown]
        tables = {exhibit.title: exhibit.table for exhibit in shown if len(exhibit.table.columns)}
        lines = [standings.get(name, ""), *said, *figures]
        if any(lines) or tables:
            parts.append(
                Appendix(part.title, tuple(filter(None, (part.question, *lines, _HOW[name](findings)))), tables)
            )
    verdicts = rules.verdicts(findings)
    if verdicts:
        parts.append(Appendix("All tests, and what they control", (rules.asked(findings),)))
    for verdict in verdicts:
        lines = [
            verdict.sentence,
            verdict.numbers,
            verdict.needs,
            f"Controlled: {verdict.controlled}",
            f"Left out: {verdict.left_out}",
        ]
        parts.append(Appendix(verdict.title, tuple(filter(None, lines))))
    if findings.pruning is not None:
        family = family_words(findings.tests)
        sentence = f"Points of accuracy, the first method minus the other, with the 95 % interval; p {family}."
        table = exhibits.differences_table(findings)
        parts.append(Appendix("All differences", (sentence, _how_compared(findings)), {"All differences": table}))
    return parts


def _verdict_lines(findings: Findings) -> list[str]:
    paragraphs: list[str] = [QUESTION, rules.asked(findings), *rules.answer(findings)]
    for one in rules.verdicts(findings):
        lines = (one.title, one.sentence, one.numbers, one.needs, one.controlled, one.left_out)
        paragraphs.append("\n".join(filter(None, lines)))
    return paragraphs


# --- methods behind the numbers ---------------------------------------------------------------------------------

_CROSSED = (
    "The variance is that of calibration seeds and clusters of items crossed, V = V(seeds) + V(clusters) − V(seeds × "
    "clusters); in the interval each part has its own Student quantile (Banerjee)."
)


def _how_compared(findings: Findings) -> str:
    """Explain how the differences between methods were tested."""
    pruning = findings.pruning
    if pruning is None:
        return ""
    return (
        f"Mean paired differences over tasks, {pruning.items:,} items in {pruning.clusters:,} clusters, as shares. "
        f"{_CROSSED} p: two-sided, the level at which that interval would end at 0, or the sign flip's over clusters "
        f"where few differ and it is larger. {_family(findings)}"
    )


def _family(findings: Findings) -> str:
    return (
        f"All {findings.tests} comparisons that this study planned are one family: every p is adjusted by Holm over "
        "them, those still to come counting as p = 1."
    )


def _watch(findings: Findings) -> str:
    spec = findings.parameters
    return (
        f"One prompt, seed {spec.seed}: “{spec.prompt}”. It shows what a recording looks like, and proves nothing; "
        "there is no interval and no test."
    )


def _sets(findings: Findings) -> str:
    spec = findings.parameters
    return (
        f"{spec.prompts} prompts per model, clustered by template; {spec.random_models} models of every null of other "
        f"weights beside each that has some; seed {spec.seed}. Intervals of single values: 95 %, Student's over "
        f"clusters of prompts, not adjusted. {NOISE} No p-values are computed."
    )


def _causes(findings: Findings) -> str:
    counts = sorted({cause.effect.n for cause in findings.causes}) or [findings.parameters.prompts]
    told = " to ".join(f"{count}" for count in dict.fromkeys((counts[0], counts[-1])))
    return (
        f"{told} prompts per model, those of one template or key one cluster, one seed. Paired: sinks hidden minus "
        "other tokens hidden on the same prompt: as many of the same state, or others that draw as much attention, "
        f"within {percent(MASS_TOLERANCE, 0)}. Per unit of attention, the first control's effect is scaled to the "
        "sinks' attention (delta method). Intervals: 95 %, Student's, over prompts. p: two-sided, Student's, "
        f"and the sign flip's where it is larger and few prompts differ. {_family(findings)}"
    )


def _pruning(findings: Findings) -> str:
    pruning = findings.pruning
    if pruning is None:
        return ""
    seeds = sorted({len(setting.seeds) for setting in pruning.settings})
    told = " to ".join(f"{count}" for count in dict.fromkeys((seeds[0], seeds[-1])))
    return (
        f"{pruning.items:,} items in {pruning.clusters:,} clusters; {told} calibration seeds a method. {_CROSSED} "
        "The tests of these differences stand beneath ‘All differences’; a dot of one seed has no interval."
    )


_HOW: dict[str, Callable[[Findings], str]] = {
    "watch": _watch,
    "sinks": _sets,
    "movement": _sets,
    "causes": _causes,
    "pruning": _pruning,
}
"""What explains to a reviewer how to read the figures of a part, in plain text."""
