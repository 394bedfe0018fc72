"""`python -m analysis export`: write everything a store knows as Parquet, with a dictionary of the columns."""

import argparse
from pathlib import Path

from analysis import outputs
from analysis.command_line.flags import a_path, as_json, flag, folder_beside, out, overwrite, show
from analysis.command_line.running import check_out, own_engine
from analysis.errors import UserError, shorten
from analysis.table_files import csv_of_table, parquet_of_table, write_csv
from cache.store import Store, default_root

DICTIONARY = "dictionary.csv"
_FIRST_COLUMNS = "table,column,meaning"


FLAGS = (
    flag("store", nargs="?", type=a_path, metavar="STORE", help="the store's folder. Default: SINKSCOPE_HOME"),
    out("DIR", "the folder to write the tables to"),
    overwrite("an export"),
    as_json("the rows of each table"),
)


def run(options: argparse.Namespace) -> int:
    """Write one Parquet file per table, and the dictionary."""
    check_out(options, refusal)
    root: Path = options.store or default_root()
    if not (root / "runs").is_dir():
        raise UserError(f"'{shorten(str(root))}' is not a SinkScope store. Give the folder that SINKSCOPE_HOME names.")
    from analysis.engine.stored_tables import dictionary, stored_tables

    with own_engine(Store(root)) as engine:
        tables = stored_tables(engine)
    with folder_beside(options.out, "export") as folder:
        whole = folder / "export"
        whole.mkdir()
        for name, table in tables.items():
            (whole / f"{name}.parquet").write_bytes(parquet_of_table(table))
        write_csv(whole / DICTIONARY, csv_of_table(dictionary()))
        note = outputs.place(whole, options.out, options.overwrite, refusal)
    counts = {name: len(table) for name, table in tables.items()}
    lines = [f"{name + '.parquet':<24} {count:,} rows" for name, count in counts.items()]
    lines.append(f"{options.out}: {len(counts)} tables and {DICTIONARY}, which describes every column")
    return show(options, {"out": str(options.out), "rows": counts}, filter(None, [*lines, note]))


def _wrote(folder: Path) -> bool:
    try:
        with (folder / DICTIONARY).open(encoding="utf-8") as file:
            return file.readline().strip() == _FIRST_COLUMNS
    except (OSError, UnicodeDecodeError):
        return False


refusal = outputs.folder_refusal(_wrote, outputs.with_suffix(".parquet", ".csv"))
"""Why an export may not replace a path, as the end of a sentence; "" if it may."""
