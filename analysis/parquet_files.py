"""Tables as Parquet, which keeps the type of each column and reads in any data frame library."""

import io
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


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
