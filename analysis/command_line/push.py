"""`python -m analysis push`: upload a pruned folder, a recording or results to the Hugging Face hub."""

import argparse

from analysis.command_line.flags import a_path, as_json, flag, show
from analysis.command_line.running import own_engine
from cache.environment import gigabytes
from cache.store import Store

FLAGS = (
    flag("source", type=a_path, metavar="FOLDER", help="a pruned folder, a recording or a folder of results"),
    flag("--to", required=True, metavar="NAME", help="the repository, as me/my-model"),
    flag("--upload", action="store_true", help="upload; without it, only print what would be uploaded"),
    flag("--public", action="store_true", help="make a new repository public. Default: private"),
    as_json("the plan"),
)


def run(options: argparse.Namespace) -> int:
    """List what would be uploaded, and upload it if asked."""
    from analysis.engine.publishing import planned_upload, upload

    with own_engine(Store()) as engine:
        plan = planned_upload(options.source, options.to, engine)
    address = upload(plan, private=not options.public) if options.upload else ""
    told = {"repository": plan.repository, "kind": plan.kind, "files": sorted(plan.files), "bytes": plan.bytes}
    lines = [f"{address}: {len(plan.files) + 1} files, {gigabytes(plan.bytes)}"]
    if not options.upload:
        kept = "public" if options.public else "private"
        lines = [
            f"Would upload to the {kept} {plan.kind} repository {plan.repository} ({gigabytes(plan.bytes)}):",
            *(f"  {name}" for name in (*sorted(plan.files), "README.md")),
            f"\n{plan.card}\nNothing was uploaded. Add --upload to do it.",
        ]
    return show(options, {**told, "uploaded": options.upload, "address": address}, lines)
