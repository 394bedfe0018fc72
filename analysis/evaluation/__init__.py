"""Quality of a model: likelihoods of answers and the benchmark tasks."""
