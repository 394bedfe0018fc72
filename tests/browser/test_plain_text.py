"""Text made plain reads as itself in a real browser, and fetches nothing."""

import json
import os
import random
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, expect

from tests.browser.helpers import all_drawn, strangers
from tests.helpers import ROOT, free_port

pytestmark = pytest.mark.slow

PICTURE = "![x](http://evil.test/a.png)"
FRAGMENTS = [
    PICTURE,
    ":material/home:",
    ":material_home:",
    ":smile:",
    ":streamlit:",
    ":red[x]",
    "a--b",
    "<-",
    "->",
    "<->",
    "--",
    ">=",
    "~=",
    "http://evil.test",
    "www.evil.test",
    "me@evil.test",
    "$x$",
    "$$",
    "`c`",
    "``",
    "**b**",
    "_i_",
    "<b>h</b>",
    "&amp;",
    "&#65;",
    "# x",
    "\n- item",
    "\n1. one",
    "\n> q",
    "\\",
    "|",
    "~~s~~",
    "[^1]",
    "[a]: http://b",
    "\n===",
    "\n    four",
    "---",
    "10:20:30",
    "C:\\dir",
    "5 %",
    "⟨7⟩",
    "x",
    "word",
    " ",
    "\n\n",
    "<!-- c -->",
    "\n```",
    "{a}",
    "!",
]
SCRIPT = """
import json, sys
import streamlit as st
from pages.parts.plain import code, plain
for index, text in enumerate(json.loads({texts!r})):
    with st.container(key=f"t{{index}}"):
        st.error(plain(text))
        st.caption("say " + plain(text))
        st.markdown(f"**{{plain(text)}}**")
        st.progress(0.5, text=plain(text))
    with st.container(key=f"c{{index}}"):
        st.markdown("in " + code(text))
st.caption("all drawn")
"""


def texts() -> list[str]:
    """Every fragment, and 40 mixtures of them."""
    mixer = random.Random(7)
    return FRAGMENTS + ["".join(mixer.choices(FRAGMENTS, k=6)) for _ in range(40)]


@contextmanager
def script_served(script: str, folder):
    """A Streamlit script on its own server; yields its address."""
    path = folder / "script.py"
    path.write_text(script)
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(path), "--server.port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        process.wait(30)


def listening(address: str) -> None:
    """Waits until a server takes connections."""
    port, deadline = int(address.rsplit(":", 1)[1]), time.monotonic() + 120
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "the script's server did not start"
            time.sleep(0.2)


def seen(text: str) -> str:
    """A text as it reads on a page: joiners have no width, and white space is one space."""
    return " ".join(text.replace("\u2060", "").split())


# Of each text: how it reads in every place, and its HTML where it holds what Markdown makes.
READ = """count => [...Array(count).keys()].map((index) => {
  const shown = document.querySelector(`.st-key-t${index}`);
  const read = (root, place) => root?.querySelector(place)?.innerText ?? "";
  const reads = {
    error: read(shown, "[data-testid=stAlert]"),
    caption: read(shown, "[data-testid=stCaptionContainer]"),
    progress: read(shown, "[data-testid=stProgress]"),
    code: read(document, `.st-key-c${index} code`),
  };
  const isMarked = shown?.querySelector("a, img, em, del, .katex, ul, ol, blockquote, h1, h2");
  return [reads, isMarked ? shown.innerHTML.slice(0, 500) : ""];
})"""


def misread(page: Page, given: list[str]) -> list[tuple[str, str, str]]:
    """What stands otherwise on the page than it was given: where, the text, and how it reads."""
    wrong = []
    for text, (places, marked) in zip(given, page.evaluate(READ, len(given)), strict=True):
        for name, reads in places.items():
            expected = f"say {text}" if name == "caption" else text
            if seen(reads) != seen(expected):
                wrong.append((name, text, reads))
        if marked:
            wrong.append(("marks", text, marked))
    return wrong


def test_text_made_plain_reads_as_itself_and_fetches_nothing(page, tmp_path):
    asked, given = strangers(page), texts()
    with script_served(SCRIPT.format(texts=json.dumps(given)), tmp_path) as address:
        listening(address)
        page.goto(address)
        expect(page.get_by_text("all drawn")).to_be_visible()
        all_drawn(page)
        deadline = time.monotonic() + 120
        while (
            wrong := misread(page, given)
        ) and time.monotonic() < deadline:  # the browser formats some a little later
            page.wait_for_timeout(500)
        assert wrong == []
    assert asked == []
