"""The masks that a study compares: large ones in the background, as those of an 8B model take a minute."""

from concurrent.futures import Future, ThreadPoolExecutor

import streamlit as st

from analysis.study.findings import MaskChange
from analysis.study.gather_story import MasksAsked, compare_masks

AT_ONCE = 64 * 2**20  # bytes of weights and masks that are compared while a page is drawn


def compared(asked: MasksAsked) -> MaskChange | None:
    """Return the comparison, None while it is under way. Raises UserError for a damaged mask."""
    future = _future(_key(asked), asked)
    return future.result() if future.done() else None


def is_there(asked: MasksAsked) -> bool:
    """Return whether the comparison has ended; asks for it if nobody has."""
    return _future(_key(asked), asked).done()


def _key(asked: MasksAsked) -> str:
    return "|".join(map(str, (*asked.folders, *asked.control_folders)))


@st.cache_resource(max_entries=256, show_spinner=False)
def _future(key: str, _asked: MasksAsked) -> Future[MaskChange]:
    """The comparison of these masks, begun. key: their folders, which never change once they are kept."""
    folders = (*_asked.folders, *_asked.control_folders)
    size = sum(file.stat().st_size for folder in folders for file in folder.glob("*.safetensors"))
    if size > AT_ONCE:
        return _background().submit(compare_masks, _asked)
    future: Future[MaskChange] = Future()
    try:
        future.set_result(compare_masks(_asked))
    except Exception as error:  # told where the result is read
        future.set_exception(error)
    return future


@st.cache_resource(show_spinner=False)
def _background() -> ThreadPoolExecutor:
    """One at a time: NumPy compares bits without holding up the threads that serve pages."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="masks")
