"""What asks for a look inside a recording asks for that recording's own text."""

import sinkscope
from sinkscope.results import Ablation


def test_with_nothing_hidden_a_prompt_with_masks_gives_the_text_that_was_recorded() -> None:
    recording = sinkscope.record("mia has [MASK] apples . she [MASK] them .", gen_length=6, steps=3, block_length=6)
    length = recording.info.prompt_length
    assert (recording.state[0, :length] == recording.state[0, -1]).sum() == 2, "masks of the prompt are open"
    ablated = sinkscope.job("ablate", recording)
    assert isinstance(ablated, Ablation)
    rows: list[dict[str, str]] = ablated.summary["rows"]
    [untouched] = [row for row in rows if row["title"] == "nothing"]
    recorded = "".join(recording.info.tokens[token] for token in recording.final[length:].tolist())
    assert "".join(untouched["text"].split()) == "".join(recorded.split())
