"""What pruned models are called."""

import pytest

from analysis.pruned.report_file import both_titles, plain_name, run_name, run_names
from analysis.specs import PruneSpec


def dumped(**changes):
    return PruneSpec(**changes).model_dump(mode="json")


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"method": "sink-wanda"}, "Sink-Wanda k2 α5 λ1 seed 0 · 50 %"),
        (
            {"sparsity": 0.625, "discount": {"sink_std": 1.5, "discount_strength": 0.25}, "calibration": {"seed": 7}},
            "Sink-Wanda k1.5 α5 λ0.25 seed 7 · 62.5 %",
        ),
        ({"method": "wanda-noised"}, "Wanda noised seed 0 · 50 %"),
        ({"method": "magnitude", "pattern": "2:4"}, "Magnitude · 50 % · 2:4"),
        ({"method": "wanda", "allocation": "owl"}, "Wanda seed 0 · 50 % · owl"),
    ],
)
def test_a_name_says_method_discount_seed_and_sparsity(changes, name):
    assert run_name(dumped(**changes)) == name


def test_finer_settings_stand_where_names_would_be_the_same():
    runs = [dumped(calibration={"samples": samples}) for samples in (8, 16)] + [dumped(method="wanda")]
    names = run_names(runs, ["a", "b", "c"])
    assert names == [
        "Sink-Wanda k2 α5 λ1 seed 0 · 50 % · samples 8",
        "Sink-Wanda k2 α5 λ1 seed 0 · 50 % · samples 16",
        "Wanda seed 0 · 50 %",
    ]


def test_runs_with_the_same_parameters_are_told_apart_by_their_ids():
    runs = [dumped(method="wanda", out=out) for out in ("here", "there")]
    assert run_names(runs, ["abcdef", "123456"]) == ["Wanda seed 0 · 50 % · abcd", "Wanda seed 0 · 50 % · 1234"]


def test_the_model_is_named_where_two_models_were_pruned_alike():
    runs = [dumped(method="wanda", model={"source": source}) for source in ("bundled", "bundled-ar")]
    assert run_names(runs, ["a", "b"]) == [
        f"Wanda seed 0 · 50 % · model {source}" for source in ("bundled", "bundled-ar")
    ]


def test_names_hold_no_comma_as_lists_of_names_are_written_with_commas():
    runs = [dumped(method="wanda", skip_layers=layers) for layers in ((0, 1), (2, 3))]
    assert not any("," in name for name in run_names(runs, ["a", "b"]))


@pytest.mark.parametrize("odd", [{}, {"method": "of my own"}, {"calibration": 3, "discount": [1], "sparsity": "half"}])
def test_reports_from_elsewhere_are_named_too(odd):
    assert run_name(odd)


def test_what_a_method_does_not_read_is_in_no_name():
    """Plain Wanda reads no discount and a dense model has no experts to rank."""
    runs = [
        dumped(method="wanda", discount={"sink_std": std}, expert_worth=worth)
        for std, worth in ((1, "reap"), (3, "load"))
    ]
    assert run_names(runs, ["abcdef", "123456"]) == ["Wanda seed 0 · 50 % · abcd", "Wanda seed 0 · 50 % · 1234"]
    assert "k" in run_names([dumped(discount={"sink_std": std}) for std in (1, 3)], ["a", "b"])[0]


def test_readers_are_told_what_a_model_is_before_how_its_method_is_called():
    assert plain_name(dumped(method="sink-wanda", calibration={"seed": 3})) == "With discount, 50 % removed, seed 3"
    assert plain_name(dumped(method="magnitude", sparsity=0.625)) == "Magnitude, 62.5 % removed"
    bits = dumped(method="none", quantization={"bits": 4})
    assert plain_name(bits).count("removed") == 0 and "4-bit" in plain_name(bits)
    assert plain_name({"method": "of my own", "sparsity": "half"}) == "of my own"
    assert both_titles("wanda-noised") == "Without discount (control) · Wanda, noised"
    assert both_titles("wanda") == "Wanda as published"
