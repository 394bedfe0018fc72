"""The story of a study: its first screen, its findings, what they rest on, files to download, and links from its
figures to the pages that show the same, in the very state that the figure was drawn from.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import streamlit as st

from analysis.engine.studies import ablation_name, set_name, watch_name
from analysis.exhibits import study as exhibits
from analysis.exhibits.story import WHAT, playback_of, story_of
from analysis.exhibits.study_report import NOTHING, report_folder, report_html
from analysis.figures.story import Story, answers_html, findings_html, picture_html
from analysis.specs import METHODS, QUESTION, STUDY_PARTS, ModelSpec
from analysis.statistics.decisions import DECISIONS
from analysis.study import rules
from analysis.study.findings import Findings, Setting, Waterfall
from analysis.words import TASK_SETS, counted, model_in_words, model_title, percent
from pages.parts import address
from pages.parts.address import primary_link
from pages.parts.causes.over_prompts import ABLATION_ASKED
from pages.parts.charts import chart, download, exhibit_table, reproduce
from pages.parts.explore.branches import at_token
from pages.parts.plain import plain
from pages.parts.recordings.explorer import Chosen, stored_player
from pages.parts.run_rows import MOST_RUNS, RUNS_ASKED
from pages.parts.session import engine
from pages.parts.study.choice import ADDRESS
from pages.parts.study.presentation import mount


@dataclass(frozen=True)
class Way:
    """A link. label: plain text. query: parameters in its address."""

    page: str
    label: str
    icon: str
    query: dict[str, str | list[str]]


def draw_ways(findings: Findings, part: str, figure: str = "") -> None:
    """Draw the links of one figure, or of a part of the story; none if its jobs are in another store."""
    ways = _WAYS[part](findings, figure)
    if ways:
        with st.container(horizontal=True):
            for way in ways:
                st.page_link(way.page, label=f"**{plain(way.label)}**", icon=way.icon, query_params=way.query)


def draw_token(findings: Findings, chosen: Chosen) -> None:
    """Draw the link from a token of the player to its alternatives; if its recording is not in this store, to recording
    it.
    """
    tracks = (findings.playback or {})["tracks"]
    source = tracks[chosen["track"]]["title"]
    job = _of_models(findings, "watch", watch_name).get(source)
    if job is not None:
        st.page_link(
            "pages/explore.py",
            label=f"**{plain(model_title(source))}: what else could stand at position {plain(chosen['position'])}?**",
            icon=":material/call_split:",
            query_params=at_token(job, chosen["step"], chosen["position"], chosen["finished"]),
        )
        return
    st.caption(
        f"This recording is not in this store. Record its prompt with {plain(_called(source))}, and a click on a token "
        "shows what else could stand there and how the text would go on."
    )
    st.page_link("pages/explore.py", label="**Record it**", icon=":material/play_circle:")


def in_this_store(findings: Findings) -> bool:
    """Return whether any job of a study is in this store, so that its figures can link to pages."""
    return any(engine().job(job) is not None for part in findings.parts for job in part.jobs.values())


def _called(source: str) -> str:
    return model_in_words(source)


def _ways_to_watch(findings: Findings, figure: str) -> list[Way]:
    return [
        Way("pages/explore.py", f"Watch {_called(source)} write", ":material/play_circle:", {"recording": job})
        for source, job in _of_models(findings, "watch", watch_name).items()
    ]


def _sets(findings: Findings, figure: str) -> list[Way]:
    """Return links to a figure's sets: all of them, or of `movement_N` the one of that number."""
    sets = list(_of_models(findings, "sinks", set_name).values())
    number = figure.removeprefix("movement_")
    if number.isdigit():
        sets = sets[int(number) : int(number) + 1]
    if not sets:
        return []
    label = "This set by layer and step" if len(sets) == 1 else "These sets by layer and step"
    return [Way("pages/evidence.py", label, ":material/timeline:", {"set": ",".join(sets)})]


def _causes(findings: Findings, figure: str) -> list[Way]:
    return [
        Way("pages/causes.py", f"The ablation of {_called(source)}", ":material/science:", {ABLATION_ASKED: job})
        for source, job in _of_models(findings, "causes", ablation_name).items()
    ]


def _ways_of_pruning(findings: Findings, figure: str) -> list[Way]:
    """Return links to the sweep, at the sparsity of a waterfall; its runs side by side; the sink-aware run's
    accuracies.
    """
    pruning = findings.pruning
    if pruning is None or engine().job(pruning.job) is None:
        return []
    sweep: dict[str, str | list[str]] = {"sweep": pruning.job}
    waterfall = next((one for one in pruning.waterfalls if exhibits.way_name(one) == figure), None)
    if waterfall is None:
        return [Way("pages/sweep.py", "All runs of this sweep", ":material/stacked_line_chart:", sweep)]
    at = percent(waterfall.sparsity, 0)
    ways = [
        Way("pages/sweep.py", f"This sweep at {at}", ":material/stacked_line_chart:", sweep | {"sweep_sparsity": at})
    ]
    settings = _along(pruning.settings, waterfall)
    runs = _by_seed(settings)
    if runs:
        ways.append(Way("pages/runs.py", f"These {len(runs)} runs", ":material/table_view:", {RUNS_ASKED: runs}))
    scored = settings[-1] if settings else None
    if scored is not None and scored.evaluations and engine().job(scored.evaluations[0]) is not None:
        label = f"Accuracy of {METHODS[scored.method].title}, seed {scored.seeds[0]}"
        query: dict[str, str | list[str]] = {"evaluation": scored.evaluations[0], "runs_view": "Accuracy"}
        ways.append(Way("pages/runs.py", label, ":material/monitoring:", query))
    return ways


def _along(settings: tuple[Setting, ...], waterfall: Waterfall) -> list[Setting]:
    """Return the settings that a waterfall steps through, in order."""
    method = METHODS[waterfall.method]
    names = dict.fromkeys([method.published, method.control, method.name])
    by_method = {setting.method: setting for setting in settings if setting.sparsity == waterfall.sparsity}
    return [by_method[name] for name in names if name in by_method]


def _by_seed(settings: list[Setting]) -> list[str]:
    """Return the runs of whole calibration seeds of the settings, up to the most compared at once."""
    prunings = [setting.prunings for setting in settings if setting.prunings]
    rows = list(zip(*prunings, strict=False))[: MOST_RUNS // max(len(prunings), 1)]
    return [run for row in rows for run in row if engine().job(run) is not None]


_WAYS: dict[str, Callable[[Findings, str], list[Way]]] = {
    "watch": _ways_to_watch,
    "sinks": _sets,
    "movement": _sets,
    "causes": _causes,
    "pruning": _ways_of_pruning,
}


def _of_models(findings: Findings, part: str, name_of: Callable[[ModelSpec], str]) -> dict[str, str]:
    """Return the jobs of a part whose results are in this store, by model. name_of: a model's job in that part."""
    named = findings.part(part).jobs
    models = findings.parameters.models
    jobs = {model.source: engine().job(named[name_of(model)]) for model in models if name_of(model) in named}
    return {source: job.id for source, job in jobs.items() if job is not None and engine().has_result(job)}


def story(findings: Findings, name: str) -> None:
    """Draw the first screen beside the player, and the findings. name: of the study in the address."""
    told, playback = story_of(findings), playback_of(findings)
    st.html(STYLE)
    if playback is None:
        with st.container(key="story_first"):
            first_screen(findings, told, name, told.about)
    else:
        left, right = st.columns([6, 5], gap="medium")
        with left, st.container(key="story_first"):
            first_screen(findings, told, name)
        with right, st.container(key="story_stage", gap="small"):
            st.markdown(f"**Watch it write**  \n:small[:gray[{plain(told.about)}]]")
            stored_player(playback, "study_player", lambda chosen: draw_token(findings, chosen))
    if told.findings:
        mount(findings_html(told.findings), "story_findings")


def behind(findings: Findings) -> None:
    """Draw what the findings rest on, each part in an expander that is filled once opened."""
    st.header("Behind the findings", anchor=False)
    with st.container(key="story_behind"):
        _folds(findings)


def _folds(findings: Findings) -> None:
    for name, part in STUDY_PARTS.items():
        there = findings.part(name)
        if there.state == "not asked" and not there.reason:
            continue
        if there.standing and there.state not in ("done", "not asked"):
            st.caption(f":material/hourglass_empty: {plain(part.title)}: {plain(there.standing)}")
        with _fold(part.title, name) as opened:
            if opened:
                _part(findings, name)
    verdicts = rules.verdicts(findings)
    if verdicts:
        with _fold("All tests, and what they control", "verdict") as opened:
            if opened:
                _verdict(findings, verdicts)


@contextmanager
def _fold(title: str, name: str) -> Iterator[bool]:
    """Draw an expander and yield whether it is open."""
    place = st.expander(plain(title), key=f"fold_behind_{name}", on_change="rerun")
    with place:
        yield bool(place.open)


def _part(findings: Findings, name: str) -> None:
    """Draw a part: its sentences by model, its figures, and links to the pages behind them."""
    part, there = STUDY_PARTS[name], findings.part(name)
    st.caption(part.question)
    if there.standing:
        st.caption(f":material/info: {plain(there.standing)}")
    for model, sentences in exhibits.sayings(findings, name).items():
        st.markdown(f"**{plain(model_title(model))}**")
        st.markdown("\n".join(f"- {plain(sentence)}" for sentence in sentences or (NOTHING,)))
    for key, exhibit in exhibits.part_exhibits(findings, name).items() if name not in _BODIES else ():
        chart(exhibit, f"study_{key}")
        draw_ways(findings, name, key)
    if name in _BODIES:
        _BODIES[name](findings)


def _watch(findings: Findings) -> None:
    st.caption(f"Its prompt: “{plain(findings.parameters.prompt)}”")
    if findings.playback is None and not in_this_store(findings):
        st.page_link("pages/explore.py", label="**Record it and watch**", icon=":material/play_circle:")
    draw_ways(findings, "watch")


def _pruning(findings: Findings) -> None:
    shown = exhibits.pruning_exhibits(findings)
    if not shown:
        return
    ways = [(name, exhibit) for name, exhibit in shown.items() if name.startswith("way_")]
    for first in range(0, len(ways), 2):
        for column, (name, exhibit) in zip(st.columns(2, gap="large"), ways[first : first + 2], strict=False):
            with column:
                chart(exhibit, f"study_{name}")
                draw_ways(findings, "pruning", name)
    chart(shown["seeds"], "study_seeds")
    draw_ways(findings, "pruning", "seeds")


_BODIES = {"watch": _watch, "pruning": _pruning}


def _verdict(findings: Findings, verdicts: Sequence[rules.Verdict]) -> None:
    """Draw the verdicts of the rules, with what was controlled and what was not, and every comparison."""
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
    if findings.pruning is not None:
        table = exhibits.differences_table(findings)
        exhibit_table("All differences", "Points of accuracy, the first method minus the other.", table, "study_all")
    st.markdown("**The rules**")
    st.markdown("\n".join(f"- **{plain(rule.title)}**: {plain(rule.help)}" for rule in DECISIONS.values()))


def share(findings: Findings) -> None:
    """Draw the report, the folder of figures and tables, and the command."""
    st.header("Share", anchor="share")
    spec = findings.parameters
    name = f"sinkscope-study-{findings.created[:10]}"
    with st.container(horizontal=True):
        download(
            "Report (HTML)",
            lambda: report_html(findings),
            f"{name}.html",
            "study_report",
            "ios_share",
            type="primary",
            help="One file with the whole story. It opens anywhere, without a server or a network.",
        )
        download(
            "Figures and tables (ZIP)",
            lambda: report_folder(findings, with_pictures=engine().authorizer.may("run")),
            f"{name}.zip",
            "study_folder",
            "folder_zip",
            help="Every figure as HTML, and as PNG and SVG where kaleido and a Chrome are installed; every table as "
            "CSV, the verdict as text.",
        )
        download(
            "Numbers (JSON)",
            lambda: json.dumps(findings.model_dump(mode="json"), indent=1, ensure_ascii=False),
            f"{name}.json",
            "study_json",
            "data_object",
        )
    minutes = max(1, round(findings.seconds / 60))
    methods = ", ".join(METHODS[method].title for method in spec.methods)
    tasks = [TASK_SETS.get(name, name) for name in spec.tasks]
    reproduce(
        findings.command,
        f"{plain(methods)} on {plain(', '.join(tasks))}; {plain(counted(minutes, 'minute'))} of work in all. "
        f"{plain(_environment(findings))}",
    )


def _environment(findings: Findings) -> str:
    environment = findings.environment or {}
    versions = environment.get("versions")
    names = ", ".join(f"{name} {version}" for name, version in versions.items()) if isinstance(versions, dict) else ""
    return f"Versions: {names}." if names else ""


ASKING = "ask"  # in the address: that what a study asks is shown
STYLE = """<style>
[data-testid='stMainBlockContainer']{padding-top:3.6rem}
@media (min-width:1100.1px){[data-testid='stMainBlockContainer']{padding-top:2.1rem}.st-key-story_first{--tall:3.8em}}
.st-key-study_shown label{position:absolute;clip-path:inset(50%);height:1px;overflow:hidden}
.st-key-story_stage{--player-size:.82rem}
[data-testid='stMain'] h1{text-wrap:balance;font-size:1.65rem;line-height:1.15;padding:0}
.st-key-story_first,.st-key-story_first .stVerticalBlock{gap:.5rem}.st-key-story_first p{margin-bottom:.2rem}
.st-key-study_answer{padding:.5rem .9rem}
.st-key-story_first [data-testid='stMarkdownContainer']{margin-bottom:-.2rem}
.st-key-story_first [data-testid='stCaptionContainer']{margin-bottom:.1rem;text-wrap:balance}
.st-key-story_ways{gap:.5rem;align-items:center}.st-key-story_ways .st-key-primary_link{margin-top:0}
.st-key-story_ways>:has(>.st-key-primary_link){flex:0 0 auto;width:auto}
.st-key-story_ways .st-key-primary_link a{background:#1f5fbf;border-color:#1f5fbf!important}
.st-key-story_ways [data-testid='stPageLink'] a{border:1px solid color-mix(in srgb,currentColor 25%,transparent);
border-radius:.5rem;padding:.3rem .45rem;min-height:2.4rem}
.st-key-story_ways [data-testid='stPageLink'] p{font-size:.86rem;white-space:nowrap}
@media (min-width:1100.1px){[data-testid='stColumn']:has(.st-key-story_stage){position:sticky;top:2.8rem;
align-self:flex-start}}
@media (min-width:1100.1px) and (max-width:1600px) and (max-height:900px){
.st-key-story_first{min-height:calc(100vh - 2.8rem)}}
@media (max-width:640px){[data-testid='stMain'] h1{font-size:1.45rem}
[data-testid='stMainBlockContainer']{padding-top:3.4rem;padding-bottom:.5rem}
.st-key-story_first,.st-key-story_first .stVerticalBlock{gap:.3rem}.st-key-story_behind{gap:.25rem}
.st-key-story_stage{--player-size:.78rem;gap:.2rem}.st-key-story_ways{gap:.35rem;margin:.3rem 0}
[data-testid='stHorizontalBlock']:has(.st-key-story_stage){gap:.3rem}
.st-key-story_ways [data-testid='stPageLink'] p{font-size:.79rem}
.st-key-story_ways [data-testid='stPageLink'] a{padding:.3rem;gap:.3rem}
.st-key-story_first>:has(>.st-key-study_answer),.st-key-story_first>:has(>.st-key-study_answer)+*{order:1}}
@media (max-width:1100px){
[data-testid='stHorizontalBlock']:has(.st-key-story_stage){flex-direction:column}
[data-testid='stHorizontalBlock']:has(.st-key-story_stage)>[data-testid='stColumn']{width:100%;min-width:100%;flex:none}
}
</style>"""


def without_study() -> None:
    """Draw the first screen where there is no study, not even the example."""
    st.title(QUESTION, anchor=False)
    st.caption(WHAT)
    st.info("No study here yet. **Run on your model**, and each part appears here as it finishes.")
    _ways("")


def first_screen(findings: Findings, told: Story, name: str, about: str = "") -> None:
    """Draw what this is, one sink, the answer, and the ways on. name: of the study in the address. about: the model,
    where no player beside it tells.
    """
    st.title(QUESTION, anchor=False)
    before, term, after = told.what.partition(told.term)
    st.markdown(f"{plain(before)} **{plain(term)}**{plain(after)}")  # plain drops the space at the end
    if told.picture:
        mount(picture_html(told), "story_picture")
    with st.container(border=True, key="study_answer"):
        runs = findings.state in ("queued", "running")
        if not told.answers:
            nothing = (
                "No answer yet: the first parts are under way."
                if runs
                else "No answer: the study ended before its first parts."
            )
            st.markdown(nothing)
        else:
            mount(answers_html(told.answers), "story_answers")
    st.caption(plain(" ".join(filter(None, (about, told.thin, told.reading)))))
    _ways(name)


def _ways(name: str) -> None:
    """Draw the three buttons. name: of the study in the address, empty if there is none to present."""
    study = {ADDRESS: name} if name else {}
    with st.container(horizontal=True, key="story_ways"):
        primary_link("pages/explore.py", label="**Record a prompt**", icon=":material/play_circle:")
        if name:
            st.page_link(
                "pages/start.py",
                label="**Present**",
                icon=":material/slideshow:",
                query_params=address.to_slides(study=name),
                help="The story as slides. Arrow keys, a clicker or a swipe lead on; Esc leaves.",
            )
        if not engine().authorizer.demo:
            st.page_link(
                "pages/start.py",
                label="**Run on your model**",
                icon=":material/science:",
                query_params={**study, ASKING: "true"},
            )
