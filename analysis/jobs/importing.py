"""Import of lm-eval results. No model runs."""

import hashlib
from pathlib import Path
from typing import cast

from analysis.errors import UserError
from analysis.evaluation import importing
from analysis.evaluation.items_file import DOCUMENTS
from analysis.job_context import Context
from analysis.jobs.evaluation_summary import summary
from analysis.jobs.outcome import Outcome
from analysis.jobs.summaries import ImportSummary
from analysis.specs import ImportSpec
from cache.code import code_version
from cache.keys import content_key


def import_results(spec: ImportSpec, context: Context) -> Outcome[ImportSummary]:
    """Read folders of lm-eval results and compare their models. The file holds a JSON line for every item and answer.

    The key is that of the content, so the same answers are one result wherever they are. Raises UserError as
    `importing.import_folders` does.
    """
    context.progress("looking for results")
    results = importing.import_folders(
        [Path(folder) for folder in spec.folders],
        spec.names,
        [Path(file) for file in spec.beside],
        importing.Wanted(spec.filters, spec.metrics),
        lambda task: context.progress(f"reading {task}"),
    )
    if not results.answers:
        raise UserError("Nothing was answered in these folders. Give folders that lm-eval wrote with --log_samples.")
    context.progress("comparing")
    path = context.folder / DOCUMENTS
    importing.write(results, path)
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    key = content_key(kind="import", content=content, code=code_version(__name__))
    sources = [model.source for model in results.models]
    return Outcome(cast(ImportSummary, {**summary(results), "key": key, "sources": sources}), path, key)
