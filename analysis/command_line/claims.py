"""`python -m analysis claims`: test the field's claims about sinks on your model."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import outputs
from analysis.command_line.flags import (
    MODEL,
    QUICK,
    Fields,
    as_json,
    estimate,
    flag,
    folder_beside,
    out,
    overwrite,
    path_text,
    reference,
    size,
)
from analysis.command_line.prompts import own_settings, reference_of
from analysis.command_line.running import anchored, check_out, engine_of, estimated, follow, require_done, say
from analysis.command_line.written_study import NUMBERS, finish, refusal, write
from analysis.errors import UserError
from analysis.specs import CLAIM_SIZES, CLAIMS, ClaimsSpec
from analysis.words import counted

if TYPE_CHECKING:
    from analysis.claims.verdicts import ClaimVerdict
    from analysis.engine import Engine, JobRecord

ASKED = Fields(ClaimsSpec, " In the size chosen it may be another.")
FLAGS = (
    reference(ClaimsSpec),
    flag(
        "--only",
        of=(ClaimsSpec, "only"),
        nargs="+",
        choices=CLAIMS,
        metavar="CLAIM",
        help=lambda: f"One or more of: {', '.join(CLAIMS)}.",
    ),
    size(CLAIM_SIZES),
    flag(
        "--prompts",
        type=path_text,
        metavar="FILE",
        help="prompts of your own: a text file with one a line, or a .jsonl file with 'prompt' and, for prompts that "
        "are alike, a common 'cluster' in each line",
    ),
    flag("--prompt-count", of=(ClaimsSpec, "count"), dest="count", type=int, metavar="N"),
    out("FOLDER", "the folder to write verdicts, figures and tables to", required=False),
    overwrite("a folder"),
    estimate("say what it will take, and do no more"),
    as_json("the verdicts"),
    ASKED,
)


def spec_of(options: argparse.Namespace) -> ClaimsSpec:
    """Return the spec for the flags. Raises UserError for prompts that cannot be read."""
    from analysis.engine.studies import new_claims

    model = MODEL.build(options)
    changes: dict[str, Any] = {**ASKED.given(options), **reference_of(options, model)}
    changes |= own_settings(options.prompts, options.count, "count")
    if options.only:
        changes["only"] = tuple(name for name in CLAIMS if name in options.only)
    return new_claims(model, options.size or QUICK, **changes)


def run(options: argparse.Namespace) -> int:
    """Test the claims and write the verdicts; the same command resumes an interrupted run."""
    check_out(options, refusal)
    spec = spec_of(options)
    from analysis.engine.studies import claims_misfit
    from analysis.study.cost_estimate import foresee_claims, lines
    from analysis.study.findings import EXAMPLE, read

    if problem := claims_misfit(spec):
        raise UserError(problem)
    with engine_of(options, spec.models) as engine:
        spec = anchored(spec) if engine.scheduler else spec
        example = read(EXAMPLE) if EXAMPLE.is_file() else None
        told = list(lines(foresee_claims(engine, spec, example)))
        for line in told:
            say(line)
        if options.estimate:
            return estimated(options, told)
        record = follow(engine, engine.submit("claims", spec))
        return _finished(engine, record, spec, options)


def _finished(engine: "Engine", record: "JobRecord", spec: ClaimsSpec, options: argparse.Namespace) -> int:
    """Write and print the results, even if some parts failed."""
    from analysis.claims.evidence import found_by
    from analysis.engine.studies import claims_command
    from analysis.exhibits.claims import as_document, summary_line, untold
    from analysis.findings import said_of

    found = found_by(record, engine)
    verdicts = said_of("claims", spec.claims, found, spec.model.source)
    document = as_document(spec, verdicts, found.fingerprint, claims_command(spec))

    def write_into(folder: Path) -> dict[str, Any]:
        _write(folder, spec, verdicts, document)
        return {"state": record.state, **document}

    with folder_beside(options.out, "claims") as scratch:
        said = [summary_line(verdicts)]
        said += [f"  {one.claim.sentence} {one.sentence}" for one in verdicts if one.excess is not None]
        for needed, claims in untold(verdicts).items():
            said += [f"  {needed}", *(f"    {claim}{own}" for claim, own in claims.items())]
        finish(options, scratch, write_into, lambda study: said)
    require_done(record, "run", "tries it again")
    return 0


def _write(folder: Path, spec: ClaimsSpec, verdicts: "Sequence[ClaimVerdict]", document: Mapping[str, Any]) -> None:
    """Write everything into an empty folder: the numbers as JSON, the table and every figure's numbers as CSV, figures
    as Plotly's JSON, and one page.
    """
    from analysis.exhibits.claims import NOISE, claim_figure, claims_figure, claims_table, summary_line, untold
    from analysis.figures.export import Exhibit

    figures = [figure for one in verdicts if (figure := claim_figure(one)) is not None]
    shown = [claims_figure(verdicts) or Exhibit(summary_line(verdicts), NOISE, table=claims_table(verdicts)), *figures]
    shown += [
        Exhibit(f"{counted(len(claims), 'claim')} not tested", " ".join([needed, *map("".join, claims.items())]))
        for needed, claims in untold(verdicts).items()
    ]
    tables = {"claims": claims_table(verdicts)} | {figure.name: figure.table for figure in figures}
    said = {one.claim.sentence: [one.sentence] for one in verdicts}
    settings = {name: value for name, value in document.items() if name != "claims"} | {"shown": said}
    write(folder, f"Claims about sinks, tested on {spec.model.source}", settings, shown, tables)
    outputs.write_json(folder / NUMBERS, document)
