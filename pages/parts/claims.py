"""The claims of a run: starting one, its progress, and a row per claim that opens on its figure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from analysis.claims.evidence import EXAMPLE, TestedClaims, found_by, read
from analysis.claims.verdicts import ClaimVerdict
from analysis.engine import JobRecord
from analysis.engine.studies import claims_command, claims_misfit, new_claims
from analysis.exhibits.claims import claim_figure, claims_figure, sources_of, summary_line, untold
from analysis.findings import said_of
from analysis.specs import CLAIM_DATA, CLAIM_SIZES, ClaimsSpec
from analysis.study.cost_estimate import foresee_claims, lines
from analysis.words import counted, model_in_words, model_title
from pages.parts import address
from pages.parts.address import shown_box
from pages.parts.asking import begin, cut_short, parts_progress, starting_button
from pages.parts.charts import chart, exhibit_text, reproduce
from pages.parts.controls import draw, keyed_columns, segments
from pages.parts.plain import as_written, model_called, plain
from pages.parts.session import LOOK, REDRAW, engine, model_in_use, model_name, not_in_address, told
from pages.parts.study.choice import example, read_point


def verdicts_of(record: JobRecord, model: str) -> list[ClaimVerdict]:
    """Return what a run has found by now. model: as sentences call it. Raises UserError for a damaged file."""
    states = tuple(f"{job.id} {job.state}" for part in engine().parts(record) for job in part.jobs.values())
    return _judged(record.id, record.state, states, model)


@st.cache_resource(max_entries=8, show_spinner=False)
def _judged(record_id: str, state: str, states: tuple[str, ...], model: str) -> list[ClaimVerdict]:
    record = engine().job(record_id)
    assert record is not None
    return said_of("claims", record.parameters(ClaimsSpec).claims, found_by(record, engine(), read_point), model)


ADDRESS = "claims"  # in the address: the run that is shown
_SHIPPED = "shipped"
OWN_FILE = "FILE holds the prompts of this run, one a line."
_CLAIM = "claim"  # in the address: the claim that is open


def tested_claims() -> dict[str, Any] | None:
    """Draw the part. Return its settings for an exported page; None if there is nothing to show."""
    record = _shown()
    if record is None:
        return _shipped()
    if not record.ended:
        st.fragment(parts_progress, run_every=LOOK)(record.id, lambda name: CLAIM_DATA[name].title.capitalize())
        st.fragment(_draw, run_every=REDRAW)(record.id)
    else:
        if record.state != "done":
            cut_short(record, "run of the claims", "parts")
        _draw(record.id)
    with st.expander("Test the claims on another model, or with more prompts", icon=":material/science:"):
        _ask()
    spec = record.parameters(ClaimsSpec)
    reproduce(claims_command(spec), OWN_FILE if spec.own_prompts else "")
    return spec.model_dump(mode="json")


@st.cache_resource(max_entries=2, show_spinner=False)
def _read(path: str, changed: int) -> tuple[TestedClaims, list[ClaimVerdict]]:
    """Return the claims as the file that ships has them. changed: when it was, in nanoseconds."""
    tested = read(Path(path))
    model = model_in_words(tested.spec.model.source)
    return tested, said_of("tested claims", tested.spec.claims, tested.evidence, tested.missing, model)


def _that_ships() -> tuple[TestedClaims, list[ClaimVerdict]]:
    return _read(str(EXAMPLE), EXAMPLE.stat().st_mtime_ns)


def _shipped_title(tested: TestedClaims) -> str:
    return f"Shipped result, {datetime.fromisoformat(tested.created):%d %b %Y}"


def _shipped() -> dict[str, Any]:
    """Draw what the run that ships found, and the way to another."""
    tested, verdicts = _that_ships()
    _tell(verdicts)
    st.caption(plain(_shipped_title(tested)))
    with st.expander("Test the claims on your model", icon=":material/science:", key="fold_claims_ask"):
        _ask()
    _figures("shipped", verdicts)
    reproduce(tested.command)
    return tested.spec.model_dump(mode="json")


# --- which run --------------------------------------------------------------------------------------------------


def _shown() -> JobRecord | None:
    """Return the run in the address, else the newest, None for the shipped one; draw a box of all if there are runs."""
    runs = {job.id: job for job in engine().jobs("claims")}
    named = address.named(ADDRESS)
    if named and named not in (*runs, _SHIPPED):
        not_in_address("a run of the claims that is not in the store.")
    shown = named if named in (*runs, _SHIPPED) else next(iter(runs), _SHIPPED)
    if runs:
        address.write(ADDRESS, shown)
        titles = {name: _titled(run) for name, run in runs.items()} | {_SHIPPED: _shipped_title(_that_ships()[0])}
        shown_box("Run", "claims_shown", shown, titles, titles.__getitem__, partial(address.write, ADDRESS))
    return runs.get(shown)


def _titled(record: JobRecord) -> str:
    spec = record.parameters(ClaimsSpec)
    asked = f"{counted(spec.count, 'prompt')}, {counted(spec.gen_length, 'new token')}"
    return as_written(
        f"{model_title(model_name(spec.model.source))} · {asked} · "
        f"{datetime.fromtimestamp(record.created):%d %b %H:%M} · {record.state}"
    )


# --- asking -----------------------------------------------------------------------------------------------------


def _ask() -> None:
    """Draw the size, its cost, and the button. Nothing runs before it is pressed."""
    model = model_in_use()
    sizes, length = keyed_columns(2, "claims_settings")
    with sizes:
        size = segments("Size", CLAIM_SIZES, "claims_size", format_func=lambda name: CLAIM_SIZES[name].title)
    with length:
        gen_length = draw(ClaimsSpec, "gen_length", "claims_gen_length")
    spec, problem = None, ""
    with told():
        spec = new_claims(model, size, gen_length=gen_length)
        problem = claims_misfit(spec)
        cost = [] if problem else lines(foresee_claims(engine(), spec, example()))
        st.caption(plain(" ".join((CLAIM_SIZES[size].help, *cost))))
    if problem:
        st.warning(plain(problem))

    def start() -> None:
        assert spec is not None
        address.write(ADDRESS, begin("claims", spec).id)

    starting_button(
        f"Test {len(spec.claims) if spec is not None else 0:d} claims",
        "claims_start",
        start,
        type="primary",
        icon=":material/science:",
        disabled=spec is None or bool(problem),
        help="You can cancel it and resume later. Earlier results are reused.",
    )
    st.caption(f"Model: {model_called(model.source)}. Choose another one in the sidebar.")


# --- what is there ----------------------------------------------------------------------------------------------


@told()
def _draw(run: str) -> None:
    record = engine().job(run)
    if record is None:
        return
    verdicts = verdicts_of(record, model_in_words(model_name(record.parameters(ClaimsSpec).model.source)))
    _tell(verdicts)
    _figures(run, verdicts)


def _tell(verdicts: Sequence[ClaimVerdict]) -> None:
    """Count the verdicts in the first line."""
    st.markdown(f"##### {plain(summary_line(verdicts))}")
    exhibit_text("What papers claim", summary_line(verdicts), "", "claims_summary")


def _figures(run: str, verdicts: Sequence[ClaimVerdict]) -> None:
    """Draw each claim beside its null, those without evidence in words, and one of them in detail. run: its id."""
    overview = claims_figure(verdicts)
    if overview is not None:
        chart(replace(overview, title="Each claim beside its null"), "claims_overview")
    for needed, claims in untold(verdicts).items():
        rows = "\n".join(f"- {plain(claim)}{own and f' :gray[{plain(own.strip())}]'}" for claim, own in claims.items())
        st.markdown(f"**{plain(needed)}**\n\n{rows}")
    _detail(run, {one.claim.name: one for one in verdicts})


def _detail(run: str, verdicts: Mapping[str, ClaimVerdict]) -> None:
    """Draw the choice of a claim, and the figure and sources of the one in the address."""
    named = address.named(_CLAIM)
    shown = named if named in verdicts else None
    shown_box(
        "Claim in detail",
        f"claim_shown_{run}",
        shown,
        verdicts,
        lambda name: as_written(verdicts[name].claim.sentence),
        partial(address.write, _CLAIM),
        placeholder="Choose a claim for its numbers and sources",
    )
    if shown is not None:
        _one(verdicts[shown])


def _one(one: ClaimVerdict) -> None:
    """Draw the figure of a claim with its sentence, what would count for it and against it, and published numbers."""
    figure = claim_figure(one)
    if figure is None:
        st.markdown(plain(one.sentence))
    else:
        chart(figure, f"claim_{one.claim.name}")
    st.caption(
        plain(
            f"For: {one.claim.supports} Against: {one.claim.refutes} {one.claim.not_meant} Source: "
            f"{sources_of(one.claim)}."
        )
    )
    for number in one.claim.published:
        st.caption(plain(f"Published for {number.model}: {number.value} ({number.source})."))
