"""The report of a study: one HTML file that needs no network, and a folder of its figures and tables."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from analysis.exhibits import study as exhibits
from analysis.exhibits.story import playback_of, story_of
from analysis.figures.export import page_html, pictures
from analysis.figures.story.document import Appendix, document_html
from analysis.specs import QUESTION, STUDY_PARTS, StudySpec
from analysis.specs.recording_sets import CLUSTER
from analysis.statistics.decisions import family_words
from analysis.study import rules
from analysis.study.findings import PROMPTS_FILE, Findings
from analysis.study.methods import how, how_compared
from analysis.table_files import csv_of_table

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
                Appendix(part.title, tuple(filter(None, (part.question, *lines, how(findings, name)))), tables)
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
        parts.append(Appendix("All differences", (sentence, how_compared(findings)), {"All differences": table}))
    return parts


def _verdict_lines(findings: Findings) -> list[str]:
    paragraphs: list[str] = [QUESTION, rules.asked(findings), *rules.answer(findings)]
    for one in rules.verdicts(findings):
        lines = (one.title, one.sentence, one.numbers, one.needs, one.controlled, one.left_out)
        paragraphs.append("\n".join(filter(None, lines)))
    return paragraphs
