"""The current study: choosing it, and its findings, kept while they do not change.

It is the one in the address, else the visitor's last, else the newest, else the example that ships. The sidebar of
every page shows it and links to it.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from analysis.engine import JobRecord
from analysis.engine.sweeps import Point
from analysis.evaluation import sweep_scores
from analysis.exhibits.story_answers import discount_at
from analysis.exhibits.story_parts import discounts
from analysis.findings import finding_of
from analysis.findings.evaluations import MARGIN
from analysis.specs import PruneSpec, StudySpec, detail
from analysis.statistics.decisions import CANNOT_TELL, ONE_SEED, POINTS, decide, interval_words
from analysis.statistics.differences import Difference
from analysis.study import findings
from analysis.study.findings import Contrast, Findings, MaskChange, read
from analysis.study.gather import MasksAsked, compare_masks, gather, masks_asked
from analysis.study.rules import margin_of
from analysis.words import listed, model_title, percent
from pages.parts import address
from pages.parts.address import shown_box
from pages.parts.asking import cancel_button, progress_bar, running
from pages.parts.plain import as_written, plain
from pages.parts.session import EXPECTED, LOOK, engine, not_in_address

AT_ONCE = 64 * 2**20  # bytes of weights and masks that are compared while a page is drawn


def compared(asked: MasksAsked) -> MaskChange | None:
    """Return the comparison, None while it is under way. Raises UserError for a damaged mask."""
    future = _future(_key(asked), asked)
    return future.result() if future.done() else None


def is_there(asked: MasksAsked) -> bool:
    """Return whether the comparison has ended; asks for it if nobody has."""
    return _future(_key(asked), asked).done()


def _key(asked: MasksAsked) -> str:
    return "|".join(map(str, (*asked.folders, *asked.control_folders)))


@st.cache_resource(max_entries=256, show_spinner=False)
def _future(key: str, _asked: MasksAsked) -> Future[MaskChange]:
    """Start the comparison of these masks. key: their folders, which never change once they are kept."""
    folders = (*_asked.folders, *_asked.control_folders)
    size = sum(file.stat().st_size for folder in folders for file in folder.glob("*.safetensors"))
    if size > AT_ONCE:
        return _background().submit(compare_masks, _asked)
    future: Future[MaskChange] = Future()
    try:
        future.set_result(compare_masks(_asked))
    except Exception as error:  # raised where the result is read
        future.set_exception(error)
    return future


@st.cache_resource(show_spinner=False)
def _background() -> ThreadPoolExecutor:
    """Return an executor with one thread: NumPy compares bits without holding up the threads that serve pages."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="masks")


def of_record(record: JobRecord) -> Findings:
    """Return the findings so far of a study in the store. Raises UserError for a damaged file."""
    states = [f"{job.id} {job.state}" for part in engine().parts(record) for job in part.jobs.values()]
    points = _points(record)
    states += [f"{point.evaluated.id} {point.evaluated.state}" for point in points if point.evaluated is not None]
    states += [f"masks {is_there(asked)}" for asked in masks_asked(points, engine())]
    return _gathered(record.id, record.state, tuple(states))


def compares_masks(record: JobRecord) -> bool:
    """Return whether masks of a study are still being compared."""
    return not all(map(is_there, masks_asked(_points(record), engine())))


def _points(record: JobRecord) -> list[Point]:
    """Return the points of a study's sweeps."""
    sweeps = [job for part in engine().parts(record) for job in part.jobs.values() if job.kind == "sweep"]
    return [point for job in sweeps for point in engine().sweep_points(job)]


def example() -> Findings | None:
    """Return the study that ships; None if this checkout has none."""
    return _example(str(findings.EXAMPLE), findings.EXAMPLE.stat().st_mtime_ns) if findings.EXAMPLE.is_file() else None


@st.cache_resource(max_entries=8, show_spinner=False)
def _gathered(record_id: str, state: str, states: tuple[str, ...]) -> Findings:
    record = engine().job(record_id)
    assert record is not None
    return gather(record, engine(), read_point, compared)


@st.cache_resource(max_entries=2, show_spinner=False)
def _example(path: str, changed: int) -> Findings:
    return read(Path(path))


def read_point(path: Path, pruning: PruneSpec) -> sweep_scores.PointScores:
    return _scores(str(path), path.stat().st_mtime_ns, pruning)


@st.cache_resource(max_entries=2048, show_spinner=False)
def _scores(path: str, changed: int, pruning: PruneSpec) -> sweep_scores.PointScores:
    return sweep_scores.read_scores(Path(path), pruning)


ADDRESS = "study"
EXAMPLE = "example"
EXAMPLE_TITLE, _EXAMPLE_SHORT = "Study that comes with SinkScope", "Shipped study"
_OPENED = "study_opened"


def studies() -> dict[str, JobRecord | None]:
    """Return the studies that can be shown, newest first, by name in the address; the example has no record."""
    records: dict[str, JobRecord | None] = {record.id: record for record in engine().jobs("study")}
    return records | ({EXAMPLE: None} if findings.EXAMPLE.is_file() else {})


def study_in_hand(among: dict[str, JobRecord | None] | None = None) -> str | None:
    """Return the current study's name in the address; None if there is none. among: `studies`, if known already."""
    there = studies() if among is None else among
    named = address.named(ADDRESS)
    if named in there:
        st.session_state[_OPENED] = named
    opened = st.session_state.get(_OPENED)
    return opened if opened in there else next(iter(there), None)


def study_title(record: JobRecord) -> str:
    """Return what a study covers, in a few words."""
    spec = record.parameters(StudySpec)
    sparsities = ", ".join(percent(sparsity, 0) for sparsity in spec.sparsities)
    return (
        f"{model_title(spec.model.source)} · {sparsities} · {len(spec.seeds)} seed{'s' if len(spec.seeds) > 1 else ''}"
    )


def study_panel() -> None:
    """Draw the current study: its name, as a link to it, and its state."""
    there = studies()
    name = study_in_hand(there)
    record = there.get(name or "")
    st.markdown("**Current study**")
    if name is None:
        st.caption("No study yet.")
        return
    st.page_link(
        "pages/start.py",
        label=plain(_EXAMPLE_SHORT if record is None else study_title(record)),
        icon=":material/auto_stories:",
        query_params={ADDRESS: name},
    )
    if record is not None and not record.ended:
        st.fragment(_running, run_every=LOOK)(record.id)
    else:
        icon = "check_circle" if record is None or record.state == "done" else "error"
        st.caption(f":material/{icon}: {plain(_state(record))}")


def _running(study_id: str) -> None:
    address.keep()
    record = running(study_id)
    progress_bar(record)
    cancel_button(record, f"stop_{study_id}")


def _state(record: JobRecord | None) -> str:
    """Say how it ended, and when."""
    if record is None:
        return "Finished."
    ended = {"done": "Finished", "failed": "Parts of it failed", "cancelled": "Cancelled"}.get(record.state, "Cut off")
    when = datetime.fromtimestamp(record.finished or record.created)
    return f"{ended}, {when:%d %b %H:%M}."


def shown_study(boxed: bool = True) -> JobRecord | Findings | None:
    """Return the current study, and put its name in the address; the example as its findings. boxed: with a box of all
    studies.
    """
    there = studies()
    named = address.named(ADDRESS)
    if named and named not in there:
        not_in_address("a study that is not in the store." + (" Here is another one." if there else ""))
    shown = study_in_hand(there)
    if shown is None:
        return None
    if boxed and len(there) > 1:
        shown_box("Study", "study_shown", shown, there, lambda name: _titled(there[name]), show)
    record = there[shown]
    if record is None:
        return example()
    show(record.id)
    return record


def current_study() -> tuple[str, JobRecord | None, Findings] | None:
    """Return the study in hand as addresses call it, its record, none of the example, and what it has found; None where
    there is none, or none that can be read, which Start tells.
    """
    there = studies()
    name = study_in_hand(there)
    if name is None:
        return None
    record = there[name]
    try:
        findings = example() if record is None else of_record(record)
    except EXPECTED:
        return None
    return None if findings is None else (name, record, findings)


class _Told(NamedTuple):
    """The answer of a study on the discount. name: in the address. found: by setting. title: within a sentence."""

    name: str
    found: dict[str, Difference]
    margin: float
    title: str
    seeds: int


@dataclass(frozen=True, eq=False)
class OfStudy:
    """A study's result for one pruning with and without the discount: the same object as long as it stays the same.
    name: in the address. title: of the study.
    """

    name: str
    title: str
    findings: Findings
    contrast: Contrast

    @property
    def within(self) -> str:
        """The name of the study within a sentence."""
        return f"{self.title[0].lower()}{self.title[1:]}"


def say_discount(found: Mapping[str, Difference], settings: Mapping[str, PruneSpec], explained: str = "") -> str:
    """Say in the first line of a page what the sink discount does to accuracy; where its runs cannot tell, or there are
    none, what the current study found at the same settings. Return what is left to say of the runs.

    found: over calibration seeds, by setting. settings: the prunings with the discount, by the same names. explained:
    the help.
    """
    seeds = max((one.seeds for one in found.values()), default=0)
    study = None if _decisions(found) - _OPEN else _of_study(settings, seeds)
    if study is None:
        if found:
            said, stands = finding_of("change of accuracy", found, place="runs here")
            st.markdown(f"##### {plain(said)}", help=plain(explained) or None)
            st.caption(plain(stands))
        else:
            st.markdown("What the sink discount does to accuracy at these settings is not measured yet.")
        return ""
    told, stands = finding_of(
        "change of accuracy", study.found, margin=study.margin, place=f"{study.title}, {study.seeds} seeds"
    )
    st.markdown(f"##### {plain(told)}", help=plain(explained) or None)
    link_study(f"{stands} {margin_told(study.margin)}", study.name, study.title)
    brief = finding_of("discount in brief", list(found.values()), study.margin) if found else ""
    return f"Runs here: {listed([interval_words(one) for one in found.values()])}; {brief}." if brief else ""


def say_study(settings: Mapping[str, PruneSpec], seeds: int, before: str = "") -> None:
    """Say in a line what the current study found of the discount at these settings, where it has more seeds and can
    tell. before: what is said before that, and where there is no such study.
    """
    study = _of_study(settings, seeds)
    if study is None:
        if before:
            st.caption(plain(before))
        return
    told = finding_of("discount in brief", list(study.found.values()), study.margin, "the discount")
    items = max(one.n for one in study.found.values())
    title = f"{study.title[0].upper()}{study.title[1:]}"
    levels = listed([name.removesuffix(" %") for name in study.found])
    said = f"{before} {title}, {items:,} items and {study.seeds} seeds at {levels}\u00a0% sparsity: {told}."
    link_study(said.strip(), study.name, study.title)


def margin_told(margin: float) -> str:
    """Tell the margin of a study's decisions."""
    return f"Margin: {POINTS.margin(margin)}, set beforehand."


def link_study(told: str, name: str, title: str) -> None:
    """Draw a line with a link to a study. name: in the address. title: within a sentence."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="said_by_study"):
        st.caption(plain(told), width="content")
        open_study(name, title)


def open_study(name: str, title: str) -> None:
    """Draw a link to a study. name, title: as of `link_study`."""
    st.page_link(
        "pages/start.py", label=f"Open the {plain(title)}", icon=":material/auto_stories:", query_params={ADDRESS: name}
    )


def can_tell(found: Mapping[str, Difference]) -> bool:
    """Return whether more calibration seeds have nothing to decide at any setting."""
    return not _decisions(found) & _OPEN


def _decisions(found: Mapping[str, Difference]) -> set[str]:
    """Return what is concluded from differences."""
    return {decide(one, MARGIN, one.above_chance) for one in found.values()}


_OPEN = {CANNOT_TELL, ONE_SEED}


def _of_study(settings: Mapping[str, PruneSpec], seeds: int) -> _Told | None:
    """Return what the current study says at these settings, where it has their model and more seeds, and can tell."""
    models = {one.model.source for one in settings.values()}
    current = _finished_study() if len(models) == 1 else None
    if current is None or current[2].parameters.model.source not in models:
        return None
    name, title, findings = current
    count = len(findings.parameters.seeds)
    found = discount_at(findings, settings) if count > seeds else {}
    return _Told(name, found, margin_of(findings), title, count) if found else None


def found_by_study(spec: PruneSpec) -> OfStudy | None:
    """Return what the current study holds of a pruning with the discount; None where it has not made that pruning."""
    current = _finished_study()
    if current is None or detail(spec):
        return None
    name, title, findings = current
    of_study, _ = _of_findings(id(findings), name, f"{title[0].upper()}{title[1:]}", findings)
    return of_study.get((spec.model.source, spec.method, spec.sparsity))


@st.cache_resource(max_entries=8, show_spinner=False)
def _of_findings(
    of: int, name: str, title: str, _findings: Findings
) -> tuple[dict[tuple[str, str, float], OfStudy], Findings]:
    """Return what findings hold by model, method and sparsity. of: their id, which no others get while they are kept
    here."""
    contrasts, source = discounts(_findings).values(), _findings.parameters.model.source
    return {(source, one.method, one.sparsity): OfStudy(name, title, _findings, one) for one in contrasts}, _findings


def _finished_study() -> tuple[str, str, Findings] | None:
    """Return the current study as addresses call it, what it is called within a sentence, and what it has found; None
    where it is not finished."""
    current = current_study()
    if current is None:
        return None
    name, record, findings = current
    if record is not None and record.state != "done":
        return None
    return name, "shipped study" if record is None else "current study", findings


def show(study_id: str) -> None:
    """Show a study, and put it in the address."""
    address.write(ADDRESS, study_id)


def _titled(record: JobRecord | None) -> str:
    """Return a study in one line: date, model, size."""
    if record is None:
        return EXAMPLE_TITLE
    return as_written(f"{datetime.fromtimestamp(record.created):%d %b %H:%M} · {study_title(record)} · {record.state}")
