"""How good a model is: likelihoods of answers and the benchmark tasks."""
