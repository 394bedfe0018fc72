"""Add a benchmark with settings of its own: one row in `PRESETS`; several together: one in `SUITES`.

A task that lm-eval has needs nothing but its name; one of your own is a YAML file and `--include-path FOLDER`.
"""

from analysis.evaluation.presets import PRESETS, SUITES, Preset, expand

PRESETS["boolq"] = Preset("BoolQ", "boolq", shots=0, draws=128, source="ours")
SUITES["reading"] = ("boolq", "race")

assert expand(("reading", "boolq")) == ("boolq", "race")
