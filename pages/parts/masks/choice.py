"""Choice of pruned models to compare, and of two that stand for chance."""

from collections.abc import Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine.runs import Run, known_runs
from analysis.pruned import compare, masks_file
from analysis.pruned.compare import Comparison
from analysis.pruned.report_file import PrunedRun, first_pair
from analysis.specs import METHODS, PruneSpec
from analysis.tuning.statistics_file import serves
from analysis.words import percent
from pages.parts import asking
from pages.parts.address import linked_box, primary_link
from pages.parts.asking import acting_button, begin, may_act
from pages.parts.controls import keyed_columns, segments
from pages.parts.masks.pruned_models import (
    Pruned,
    compared_masks,
    floor_of_statistics,
    ids_of_seeds,
    open_pruned,
    read_address,
    reports_of,
    short_labels,
    statistics_info,
    titled,
    titles_apart,
)
from pages.parts.plain import code, plain
from pages.parts.run_rows import by_sparsity
from pages.parts.session import EXPECTED, engine
from pages.parts.tuning.preview import with_floor

AUTOMATIC, CHOSEN = "automatic", "two runs of my choice"
ALIKE = 0.01  # sparsities that differ by more are not compared unasked


def _box(label: str, key: str, known: dict[str, Run], default: str | None, help: str) -> str | None:
    """Draw a box of the known runs that takes a typed path, too. Its value is in the address."""
    return linked_box(
        label,
        list(known),
        key,
        titled(known),
        typed=not engine().authorizer.demo,
        first=default,
        read=read_address(known),
        persist_state="session",
        help=help,
        placeholder="Choose a run" if engine().authorizer.demo else "Choose a run, or type a folder's path",
    )


def two_runs(known: dict[str, Run], ticked: Sequence[str] = ()) -> tuple[Pruned, Pruned] | None:
    """Draw the boxes of the two runs, and return them; None while one is missing or unreadable. ticked: ids to start
    with.
    """
    defaults = _first_two(known, ticked)
    runs: list[Pruned] = []
    places: list[DeltaGenerator] = []
    columns = keyed_columns(2, "mask_runs", gap="medium")
    for column, label, key, default in zip(columns, ("First", "Second"), ("first", "second"), defaults, strict=True):
        with column:
            chosen = _box(
                label,
                key,
                known,
                default,
                "A pruned model of this store."
                if engine().authorizer.demo
                else "A pruned model of this store, or the path of any checkpoint: without a mask file its zeros are "
                "the mask.",
            )
            run = open_pruned(chosen, known) if chosen else None
            if run is not None:
                runs.append(run)
                places.append(column)
    for column, run, told in zip(places, runs, titles_apart(runs), strict=True):
        stored = "mask file" if run.masks.stored else "zeros of the weights"
        read = f"{run.masks.architecture} · read from the {stored}"
        column.caption(plain(read if told == run.label else f"{told} · {read}"))  # the box says its label
    return (runs[0], runs[1]) if len(runs) == 2 else None


def _first_two(known: dict[str, Run], ticked: Sequence[str]) -> tuple[str | None, str | None]:
    """Return two runs to start with: the ticked ones, or the ticked one beside another of its model and sparsity, its
    control before others. A run without the discount comes first: differences are the second minus the first.
    """
    pair = _two(known, ticked)
    if pair[0] is None or pair[1] is None:
        return pair
    first, second = by_sparsity([known[run_id] for run_id in pair if run_id is not None])
    return first.id, second.id


def _two(known: dict[str, Run], ticked: Sequence[str]) -> tuple[str | None, str | None]:
    if len(ticked) > 1:
        return ticked[0], ticked[1]
    ids = list(known)
    if ticked:
        reports = dict(zip(ids, reports_of(known), strict=True))
        mine = reports.pop(ticked[0])
        alike = (run_id for run_id, report in reports.items() if report.budget() == mine.budget())
        return min(alike, key=lambda run_id: _likeness(reports[run_id], mine), default=None), ticked[0]
    start = first_pair(reports_of(known))
    # The newer of the two is the second: differences then read as 'since then'.
    return (ids[start[1]], ids[start[0]]) if start else (None, None)


def _likeness(run: PrunedRun, other: PrunedRun) -> tuple[bool, bool]:
    """Sort a run and its control of the same calibration seed first."""
    methods = [METHODS.get(str(each.settings.get("method"))) for each in (run, other)]
    named = [(row.name, row.control) for row in methods if row is not None]
    controlled = any(control == name for _, control in named for name, _ in named)
    return not controlled, run.seed != other.seed


def how_to_prune(known: dict[str, Run]) -> None:
    """Say what to do while there are no two runs to compare."""
    if len(known) < 2:
        st.info(
            "There are no two pruned models to compare yet. Once there are, this page shows which weights one keeps "
            "and the other removes, head by head, beside what chance would give."
        )
        if not may_act():  # and must not see where this server keeps its files
            return
        primary_link("pages/prune.py", "**Prune with and without the discount**", ":material/content_cut:")
        where = engine().models_folder
        st.caption(
            f"What lies in {code(where)} is offered above; of any other pruned checkpoint, type the folder's path."
        )
    elif engine().authorizer.may("run"):
        st.info("Choose two runs above, or type the paths of two folders.")
    else:
        st.info("Choose two runs above.")


def _follow_pruning() -> None:
    """Draw a running or queued pruning, if any; the page is redrawn when it is done."""
    active = [job for job in engine().jobs("prune") if not job.ended]
    if active:
        waiting = len(active) - 1
        more = f" {waiting} more wait{'s' if waiting == 1 else ''}." if waiting else ""
        asking.follow(active[-1].id, f"Pruning with {METHODS[active[-1].spec['method']].title}.{more}")


def _measure_floor(first: Pruned, second: Pruned) -> None:
    """Draw the button that prunes one of the two again with another calibration seed, to measure chance."""
    jobs = {run.folder.resolve(): run.record for run in known_runs(engine()) if run.folder is not None}
    records = [jobs.get(run.masks.folder.resolve()) for run in (second, first)]
    again = next(
        (job for job in records if job is not None and job.kind == "prune" and METHODS[job.spec["method"]].calibrated),
        None,
    )
    if again is None:
        st.caption(
            "Prune once more with the same settings and another calibration seed (`--seed 1`) to see how much of the "
            "difference is chance."
        )
        return
    spec = again.parameters(PruneSpec)
    seed = spec.calibration.seed + 1
    other = spec.model_copy(update={"calibration": spec.calibration.model_copy(update={"seed": seed}), "out": ""})

    def prune() -> None:
        begin("prune", other)

    if any(job.spec == other.model_dump(mode="json") and not job.ended for job in engine().jobs("prune")):
        _follow_pruning()
        return
    acting_button(
        "Measure the floor",
        "masks_measure_floor",
        icon=":material/casino:",
        on_click=prune,
        help=f"Prunes once more with {METHODS[spec.method].title} and calibration seed {seed:d}.",
    )


def compared_if_alike(first: Pruned, second: Pruned) -> Comparison | None:
    """Compare the two masks; None after saying on the page why they cannot, or should not, be compared."""
    problem = masks_file.why_not_comparable(first.masks, second.masks)
    if problem:
        st.error(f"These two cannot be compared. {plain(problem)} Choose two that were pruned from one model.")
        return None
    if first.key == second.key:
        st.info("First and second are the same files, so nothing differs. Choose another one.")
    if first.run.model and second.run.model and first.run.model != second.run.model:
        st.warning("These were pruned from two different dense models, so their masks differ for that reason as well.")
    comparison = compared_masks(first, second)
    total = comparison.total()
    p, q = compare.sparsities(total)
    if abs(p - q) <= ALIKE:
        return comparison
    st.warning(
        f"The first removes {percent(p, 1)} of the weights and the second {percent(q, 1)}. Masks of different "
        "sparsity differ in at "
        f"least {percent(compare.least_disagreement(total), 1)} of the weights for that reason alone, so they say "
        "little about what was chosen. Compare two runs of one sparsity."
    )
    return comparison if st.toggle("Compare them all the same", key="unlike", bind="query-params") else None


def two_seeds(first: Pruned, second: Pruned, known: dict[str, Run]) -> Comparison | None:
    """Compare two calibration seeds of one method: the chance difference of masks. None without such runs."""
    chosen = st.session_state.get("floor", st.query_params.get("floor", AUTOMATIC))
    with st.expander(plain(f"Floor: two calibration seeds · {chosen}"), key="fold_floor"):
        choice = segments(
            "Two calibration seeds",
            (AUTOMATIC, CHOSEN),
            "floor",
            help="What differs between two runs of one method and another draw of the calibration text is chance. A "
            "difference between methods means something only above it.",
        )
        ids = ids_of_seeds(first, second, known) if choice == AUTOMATIC else _chosen_pair(known)
        if choice == AUTOMATIC and not ids:
            st.caption("No two runs of this model, sparsity and pattern differ in their calibration seed alone.")
    pair = [run for run_id in ids if (run := open_pruned(run_id, known)) is not None]
    if len(pair) < 2:
        if choice == AUTOMATIC:
            floor = _floor_of_statistics(first, second)
            if floor is not None:
                return floor
            _measure_floor(first, second)
        return None
    problem = next(filter(None, (masks_file.why_not_comparable(first.masks, run.masks) for run in pair)), "")
    if problem:
        st.error(f"These two seeds cannot be the floor. {plain(problem)}")
        return None
    floor = compared_masks(*pair)
    if {run.key for run in pair} == {first.key, second.key}:
        st.caption("First and second differ in their calibration seed alone, so what is shown is the floor itself.")
        return None
    names_in_words = " and ".join(plain(name) for name in short_labels(pair))
    st.caption(f"Two calibration seeds: {names_in_words}.")
    sparsity, seeds_sparsity = (
        compare.sparsities(comparison.total())[0] for comparison in (compared_masks(first, second), floor)
    )
    if abs(seeds_sparsity - sparsity) > ALIKE:
        st.warning("These two seeds have another sparsity than the runs compared, so they are no floor for them.")
    return floor


def _floor_of_statistics(first: Pruned, second: Pruned) -> Comparison | None:
    """Return the floor from statistics stored by Prune for this model, text and precision, or None."""
    for job in engine().jobs("calibrate"):
        file = engine().result_file(job) if job.state == "done" else None
        if file is None or job.key is None:
            continue
        try:
            info = statistics_info(job.key, file)
            run = next((run for run in (second, first) if serves(info, run.run)), None)
            statistics = None if run is None else with_floor(job)
            if run is None or statistics is None:
                continue
            floor = floor_of_statistics(run, job.key, statistics)
        except EXPECTED:  # Prune reports damaged ones
            continue
        if floor is None or floor.names != run.masks.names:
            continue
        st.caption(
            f"Calibration seeds {info.spec.calibration.seed:d} and {info.other_seed:d}, without a discount, from the "
            "statistics that the page Prune has stored."
        )
        return floor
    return None


def _chosen_pair(known: dict[str, Run]) -> list[str]:
    left, right = keyed_columns(2, "mask_seeds")
    with left:
        seed = _box("One seed", "floor_first", known, None, "A run, or the path of a folder.")
    with right:
        other = _box("Another seed", "floor_second", known, None, "The same method with another calibration seed.")
    return [seed, other] if seed and other else []
