"""The story of a study: the answer, the parts it rests on, the verdict with its numbers, and what can be taken away."""

import json

import streamlit as st

from analysis.evaluation.decisions import DECISIONS
from analysis.figures.export import Exhibit
from analysis.specs import METHODS, STUDY_PARTS, StudySpec
from analysis.study import exhibits, rules
from analysis.study.findings import Findings
from analysis.study.report import NOTHING, report_folder, report_html
from pages.parts.charts import chart
from pages.parts.plain import plain
from pages.parts.recordings.player import stored_player
from pages.parts.session import engine
from pages.parts.study.links import draw_token, draw_ways, in_this_store

_TERMS = (
    "Attention sink: a token that draws several times its share of attention. Pruning: removing weights. Wanda: a "
    "way of choosing which weights go, by their size and what they see in a calibration text. Control: the same with "
    "everything but the discount. Calibration seed: which text and noise the method happened to see. Interval: where "
    "the true difference lies with 95 % confidence."
)
_FIRST = 4  # sentences of a part that are not folded away


def answer(findings: Findings) -> None:
    """What it comes to, in the first lines of the page."""
    sentences, runs = rules.answer(findings), findings.state in ("queued", "running")
    nothing = "yet: the first parts are under way." if runs else "by what is there: it ended before the first parts."
    strongest = exhibits.strongest_sinks(findings)
    if strongest:
        st.caption(plain(strongest))
    with st.container(border=True, key="study_answer"):
        st.markdown("**The answer so far**" if runs else "**The answer**", help=_TERMS)
        for sentence in sentences or [f"Nothing can be said {nothing}"]:
            st.markdown(plain(sentence))


def story(findings: Findings) -> None:
    """Every part of the study, in order."""
    for number, (name, part) in enumerate(STUDY_PARTS.items(), start=1):
        there = findings.part(name)
        if there.state == "not asked" and not there.reason:
            continue
        st.header(f"{number} · {part.title}", anchor=name)
        st.caption(part.question)
        if there.standing:
            icon = "info" if there.state in ("done", "not asked") else "hourglass_empty"
            st.caption(f":material/{icon}: {plain(there.standing)}")
        for model, sentences in exhibits.sayings(findings, name).items():
            st.markdown(f"**{plain(model)}**")
            st.markdown("\n".join(f"- {plain(sentence)}" for sentence in sentences[:_FIRST] or (NOTHING,)))
            if sentences[_FIRST:]:
                with st.expander(f"{len(sentences) - _FIRST} more"):
                    st.markdown("\n".join(f"- {plain(sentence)}" for sentence in sentences[_FIRST:]))
        for key, exhibit in exhibits.part_exhibits(findings, name).items() if name not in _BODIES else ():
            _show(exhibit, key)
            draw_ways(findings, name, key)
        if name in _BODIES:
            _BODIES[name](findings)


def _show(exhibit: Exhibit, name: str, formula: str = "") -> None:
    chart(
        exhibit.title,
        exhibit.sentence,
        formula,
        exhibit.figure,
        f"study_{name}",
        exhibit.table,
        finding=exhibit.finding,
    )


def _watch(findings: Findings) -> None:
    if findings.playback is not None:
        stored_player(findings.playback, "study_player", lambda chosen: draw_token(findings, chosen))
    elif not in_this_store(findings):
        st.caption(f"Its prompt: “{plain(StudySpec.model_validate(findings.spec).prompt)}”")
        st.page_link("pages/denoise.py", label="**Record it and watch**", icon=":material/play_circle:")
    draw_ways(findings, "watch")


def _pruning(findings: Findings) -> None:
    shown = exhibits.pruning_exhibits(findings)
    if not shown:
        return
    ways = [(name, exhibit) for name, exhibit in shown.items() if name.startswith("way_")]
    for first in range(0, len(ways), 2):
        for column, (name, exhibit) in zip(st.columns(2, gap="large"), ways[first : first + 2], strict=False):
            with column:
                _show(exhibit, name, exhibits.WATERFALL_FORMULA)
                draw_ways(findings, "pruning", name)
    _show(shown["seeds"], "seeds", "Right answers, the mean over tasks.")
    draw_ways(findings, "pruning", "seeds")


_BODIES = {"watch": _watch, "pruning": _pruning}


def verdict(findings: Findings) -> None:
    """What rules say of the numbers, with what was controlled and what was not."""
    verdicts = rules.verdicts(findings)
    if not verdicts:
        return
    st.header(f"{len(STUDY_PARTS) + 1} · Verdict", anchor="verdict")
    st.caption(plain(rules.asked(findings)))
    for verdict in verdicts:
        with st.container(border=True):
            st.markdown(
                f"**{plain(verdict.title)}** {plain(verdict.sentence)}", help=plain(rules.rule_help(verdict.outcome))
            )
            if verdict.numbers:
                st.caption(plain(verdict.numbers))
            if verdict.needs:
                st.caption(f":material/calculate: {plain(verdict.needs)}")
            st.caption(f"Controlled: {plain(verdict.controlled)}")
            st.caption(f"Left out: {plain(verdict.left_out)}")
    with st.expander("The rules"):
        lines = [f"- **{plain(rule.title)}**: {plain(rule.help)}" for rule in DECISIONS.values()]
        st.markdown("\n".join(lines))


def share(findings: Findings) -> None:
    """The report, the folder of figures and tables, and the command."""
    st.header("Share", anchor="share")
    spec = StudySpec.model_validate(findings.spec)
    name = f"sinkscope-study-{findings.created[:10]}"
    with st.container(horizontal=True):
        st.download_button(
            "Report (HTML)",
            lambda: report_html(findings),
            f"{name}.html",
            "text/html",
            key="study_report",
            type="primary",
            icon=":material/ios_share:",
            help="One file with the whole story. It opens anywhere, without a server or a network.",
            on_click="ignore",
        )
        st.download_button(
            "Figures and tables (ZIP)",
            lambda: report_folder(findings, with_pictures=engine().gate.may("run")),
            f"{name}.zip",
            "application/zip",
            key="study_folder",
            icon=":material/folder_zip:",
            help="Every figure as HTML, and as PNG and SVG where kaleido and a Chrome are installed; every table as "
            "CSV, the verdict as text.",
            on_click="ignore",
        )
        st.download_button(
            "Numbers (JSON)",
            lambda: json.dumps(findings.model_dump(mode="json"), indent=1, ensure_ascii=False),
            f"{name}.json",
            "application/json",
            key="study_json",
            icon=":material/data_object:",
            on_click="ignore",
        )
    st.markdown("**The command that repeats it**")
    st.code(findings.command, language="bash", wrap_lines=True)
    minutes = max(1, round(findings.seconds / 60))
    methods = ", ".join(METHODS[method].title for method in spec.methods)
    st.caption(
        f"{plain(methods)} on {plain(', '.join(spec.tasks))}; {minutes:d} {'minutes' if minutes > 1 else 'minute'} of "
        f"work in all. "
        f"{plain(_environment(findings))}"
    )


def _environment(findings: Findings) -> str:
    environment = findings.environment or {}
    versions = environment.get("versions")
    names = ", ".join(f"{name} {version}" for name, version in versions.items()) if isinstance(versions, dict) else ""
    return f"Versions: {names}." if names else ""
