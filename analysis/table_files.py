"""Tables as CSV that a spreadsheet reads as plain text and numbers, and as Parquet, which keeps the type of each column
and reads in any data frame library.

A spreadsheet would run a text cell that begins like a formula; prompts, tokens and model names are untrusted. Such a
cell begins with an apostrophe, as OWASP advises (CSV Injection).
"""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def inert(value: Any) -> Any:
    """Return a cell as it is written: text that begins as a formula does, and is no number, after an apostrophe."""
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def write_csv(path: Path, text: str) -> None:
    """Write CSV as it is, whatever the system's end of a line."""
    path.write_text(text, encoding="utf-8", newline="")


def csv_of_table(table: "pd.DataFrame") -> str:
    """Return a table as CSV, without its index."""
    texts = [name for name in table.columns if table[name].dtype.kind not in "biufcmM"]
    written = table.assign(**{name: table[name].map(inert) for name in texts}) if texts else table
    # By default pandas leaves a carriage return unquoted, after which a spreadsheet begins another row.
    returns = any("\r" in text for name in texts for text in (name, *written[name]) if isinstance(text, str))
    written = written.rename(columns=inert)
    return written.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC) if returns else written.to_csv(index=False)


def csv_of_rows(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as CSV, with every column that any of them has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(map(inert, columns))
    writer.writerows([[inert(row.get(name, "")) for name in columns] for row in rows])
    return text.getvalue()


def parquet_of_table(table: "pd.DataFrame") -> bytes:
    """Return a table as a Parquet file, without its index. A column of mixed values is written as text."""
    written = table.rename(columns=str)
    mixed = {str(name): written[name].map(_text).astype("string") for name in written if _is_mixed(written[name])}
    content = io.BytesIO()
    written.assign(**mixed).to_parquet(content, index=False)
    return content.getvalue()


def _is_mixed(values: "pd.Series[Any]") -> bool:
    """Return True for a column of several types, or of lists, which Parquet has no single type for."""
    if values.dtype.kind != "O":
        return False
    types = {type(value) for value in values.dropna()}
    return len(types) > 1 or bool(types & {list, tuple, dict, set})


def _text(value: Any) -> str | None:
    if isinstance(value, str) or value is None or value != value:  # NaN
        return value if isinstance(value, str) else None
    return json.dumps(value, ensure_ascii=False, default=str)
