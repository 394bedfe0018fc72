"""The ways from a study's figures to the pages that show the same, in the very state that the figure was drawn from."""

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from analysis.engine.studies import ablation_name, set_name, watch_name
from analysis.exhibits import study as exhibits
from analysis.specs import METHODS, ModelSpec
from analysis.study.findings import Findings, Setting, Waterfall
from analysis.words import percent
from pages.parts.causes.over_prompts import ABLATION_ASKED
from pages.parts.explore.token_picked import at_token
from pages.parts.plain import plain
from pages.parts.recordings.player import Chosen
from pages.parts.run_rows import MOST_RUNS, RUNS_ASKED
from pages.parts.session import engine


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
            label=f"**{plain(source)}: what else could stand at position {plain(chosen['position'])}?**",
            icon=":material/call_split:",
            query_params=at_token(job, chosen["step"], chosen["position"], chosen["finished"]),
        )
        return
    st.caption(
        f"This recording is not in this store. Record its prompt with {plain(source)}, and a click on a token shows "
        "what else could stand there and how the text would go on."
    )
    st.page_link("pages/explore.py", label="**Record it**", icon=":material/play_circle:")


def in_this_store(findings: Findings) -> bool:
    """Return whether any job of a study is in this store, so that its figures can link to pages."""
    return any(engine().job(job) is not None for part in findings.parts for job in part.jobs.values())


def _watch(findings: Findings, figure: str) -> list[Way]:
    return [
        Way("pages/explore.py", f"Watch {source} write", ":material/play_circle:", {"recording": job})
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
        Way("pages/causes.py", f"The ablation of {source}", ":material/science:", {ABLATION_ASKED: job})
        for source, job in _of_models(findings, "causes", ablation_name).items()
    ]


def _pruning(findings: Findings, figure: str) -> list[Way]:
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
    "watch": _watch,
    "sinks": _sets,
    "movement": _sets,
    "causes": _causes,
    "pruning": _pruning,
}


def _of_models(findings: Findings, part: str, name_of: Callable[[ModelSpec], str]) -> dict[str, str]:
    """Return the jobs of a part whose results are in this store, by model. name_of: a model's job in that part."""
    named = findings.part(part).jobs
    models = findings.parameters.models
    jobs = {model.source: engine().job(named[name_of(model)]) for model in models if name_of(model) in named}
    return {source: job.id for source, job in jobs.items() if job is not None and engine().has_result(job)}
