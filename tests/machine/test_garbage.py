"""Large libraries are imported without looking for garbage, and left out of later searches."""

import gc
import weakref

import pytest

from analysis.machine import process


class Knot:
    """Holds itself, so that only a search finds it."""

    def __init__(self) -> None:
        self.itself = self


def test_nobody_looks_for_garbage_meanwhile_nor_afterwards_through_what_came():
    before = gc.get_freeze_count()
    with process.importing("a library that nobody has"):
        assert not gc.isenabled()
        came = [[number] for number in range(10_000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(came)


def test_what_was_garbage_before_does_not_stay_and_what_is_garbage_later_neither():
    earlier = weakref.ref(Knot())
    with process.importing("a library that nobody has"):
        assert earlier() is None
    later = weakref.ref(Knot())
    gc.collect()
    assert later() is None


def test_nothing_is_done_where_the_library_is_there():
    before = gc.get_freeze_count()
    with process.importing("gc"):
        assert gc.isenabled()
        came = [[number] for number in range(10_000)]
    assert gc.get_freeze_count() < before + len(came)


def test_garbage_is_looked_for_again_where_the_import_fails():
    with pytest.raises(ImportError), process.importing("a library that nobody has"):
        raise ImportError
    assert gc.isenabled()


def test_who_had_switched_it_off_finds_it_off():
    gc.disable()
    try:
        with process.importing("a library that nobody has"):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
