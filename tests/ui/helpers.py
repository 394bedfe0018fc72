"""Opening pages in Streamlit's own test runner, and reading what they say."""

import json
import re
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Block

from tests.helpers import ROOT


def app(page: str | None = None, *opened: str, **query: str) -> AppTest:
    """The app on one of its pages, at an address, with these folds opened; the test fails where the page does."""
    test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    if page:
        test.switch_page(page)
    for fold in opened:
        test.session_state[fold] = True
    for name, value in query.items():
        test.query_params[name] = value
    test.run()
    assert not test.exception, test.exception
    assert list(_loose(test.main)) == [], "see `keyed_columns`"
    return test


def _loose(block: Block, moves: bool = False) -> Iterator[str]:
    """The controls of the address in blocks that the browser may take for others once something is drawn above them:
    in columns or containers that have no key and are not the first in one that has. Tables of plots are left out.

    moves: whether the block is one of those.
    """
    keyed = bool(getattr(block.proto, "id", "")) or block.type == "expander"
    for place, child in block.children.items():
        if isinstance(child, Block):
            own = bool(getattr(child.proto, "id", "")) or child.type in ("column", "expander")
            yield from _loose(child, moves or not (own or (place == 0 and (keyed or block.type != "main"))))
        elif moves and (key := getattr(child.proto, "query_param_key", "")) and not key.endswith("_table"):
            yield key


def another_model(test: AppTest, source: str) -> None:
    """Types a source into the sidebar."""
    test.selectbox(key="model_choice").set_value(source).run()


def unfold(test: AppTest, key: str, is_open: bool = True) -> AppTest:
    """Opens or closes a fold, which the runner has no click for."""
    test.session_state[key] = is_open
    return test.run()


def folds(test: AppTest) -> list[str]:
    """The titles of all folds as they read while they are closed."""
    return [unglued(fold.label.replace(":small[", "").removesuffix("]")) for fold in test.expander]


def texts(test: AppTest) -> str:
    """Everything the page says outside of widgets, a line each, with the help beside it; nothing glued together."""
    elements = [*test.text, *test.markdown, *test.caption, *test.info, *test.warning, *test.error, *test.title]
    told = "\n".join(f"{element.value} {getattr(element.proto, 'help', '')}".strip() for element in elements)
    return unglued(told)


def unglued(text: str) -> str:
    """Return a text as it reads, without what holds its lines together."""
    return text.replace("\u00a0", " ").replace("\u2060", "")


def prompt_box(test: AppTest) -> Any:
    """The box of Denoise for the prompt, among the other boxes of text."""
    return next(area for area in test.text_area if area.label == "Prompt")


def shown_box(test: AppTest, label: str = "Recording") -> Any:
    """The box of what is shown, which has a key of its own for each thing it shows."""
    return next(box for box in test.selectbox if box.label == label)


def story_pieces(test: AppTest) -> str:
    """Return the HTML of all pieces of the story that a page shows, numbers not glued to their units nor to others."""
    told = [json.loads(data) for element in test.get("bidi_component") if (data := element.proto.json)]
    pieces = "".join(each["html"] for each in told if isinstance(each, dict) and "html" in each)
    return re.sub(r'<span class="whole">(.+?)</span>', r"\1", pieces.replace("\u00a0", " "))


def charts(test: AppTest) -> list[dict[str, Any]]:
    """What the browser is given of each plot on a page: its figure, its config, and its text for those who do not see
    it."""
    return [
        json.loads(element.proto.bytes)
        for element in test.get("bidi_component")
        if element.proto.component_name == "sinkscope_plot"
    ]


def sent_to_explorer(packed: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays of what an explorer is sent, as recording.js reads them."""
    (length,) = struct.unpack_from("<I", packed)
    header = json.loads(packed[4 : 4 + length])
    places = header["arrays"].items()
    return header, {name: np.frombuffer(packed, f"<{kind}", n, 4 + length + at) for name, (kind, at, n) in places}
