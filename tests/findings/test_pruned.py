"""What pruned models lost, in a sentence: nothing where all parts lost alike or chance would scatter as far."""

import numpy as np

from analysis.findings import finding_of


def test_matrices_that_lost_most_and_least():
    grid = np.array([[0.4, 0.5], [np.nan, 0.6]])
    said = finding_of("sparsity of matrices", grid, ["q_proj", "o_proj"], 0.5)
    assert said == (
        "Matrices lost 40.0 % (layer 0, q_proj) to 60.0 % (layer 1, o_proj) of their weights, all together 50.0 %."
    )
    assert finding_of("sparsity of matrices", np.full((2, 2), 0.5), ["q_proj", "o_proj"], 0.5) == ""


def test_heads_that_lost_more_than_chance_would_have_it():
    rng = np.random.default_rng(0)
    by_chance = rng.binomial(4096, 0.5, (6, 8)) / 4096
    assert finding_of("sparsity of heads", by_chance, 0.5, 4096, "o_proj") == ""
    beyond = by_chance.copy()
    beyond[2, 3] = 0.58
    said = finding_of("sparsity of heads", beyond, 0.5, 4096, "o_proj")
    assert said.startswith("1 of 48 heads of o_proj lost more or less than chance")
    assert said.endswith("layer 2, head 3: 58.0 % where the whole lost 50.0 %.")
    assert finding_of("sparsity of heads", beyond, 0.5, 0, "o_proj") == "", (
        "nothing is claimed of slices of unknown size"
    )


def test_layers_in_which_runs_differ():
    said = finding_of("sparsity by layer", {"A": np.array([0.5, 0.6]), "B": np.array([0.5, 0.45])})
    assert said == "Most apart in layer 1: A lost 60.0 %, B 45.0 %."
    assert finding_of("sparsity by layer", {"A": np.array([0.5]), "B": np.array([0.501])}) == ""
    assert finding_of("sparsity by layer", {"A": np.array([0.5])}) == ""


def test_the_layer_that_pays_the_dense_models_sinks_least():
    strength = {"dense": np.array([0.4, 0.05]), "first": np.array([0.1, 0.0])}
    said = finding_of("kept by layer", strength, "dense", 0.1)
    assert said == ("Most is lost in layer 0: first pays 10 %, the dense model 40 %; uniform attention would 10 %.")
    assert finding_of("kept by layer", strength, "dense", 0.5) == ""


def test_blocking_is_spoken_of_where_it_does_more_than_every_control():
    outcomes = {"nothing": 1.0, "strongest sinks": 0.12, "random positions": 0.9, "first token alone": 0.8}
    controls = ["random positions", "first token alone"]
    said = finding_of("blocked", outcomes, controls, "m: agreement")
    assert said == (
        "m: agreement 12 % with ‘strongest sinks’ hidden, 80 % or more with each control. One text: no interval is "
        "given."
    )
    assert finding_of("blocked", outcomes | {"strongest sinks": 0.85}, controls, "m:") == ""
    assert finding_of("blocked", {"strongest sinks": 0.1}, controls, "m:") == ""
