"""What depends on a device, on a CUDA GPU; the only tests that are skipped, where there is none."""

import numpy as np
import pytest
import torch

from analysis.attention import AttentionInputs, MassObserver, fused
from analysis.jobs import JOBS
from analysis.models.load import load
from analysis.recording.trajectory_file import open_trajectory
from analysis.specs import CalibrationParams, EvaluateSpec, LLaDASampling, ModelSpec, PruneSpec, RecordSpec
from benchmarks import gpu
from tests.attention import interpreted
from tests.helpers import QuietContext

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")]
CUDA = ModelSpec(device="cuda", dtype="float32")
LITTLE = CalibrationParams(samples=2, seq_len=32, step_interval=25)


def test_the_mass_of_a_forward_is_that_of_the_cpu(bundled):
    there = load(CUDA)
    tokens = torch.arange(2, 34)[None]
    masses = []
    for model in (bundled, there):
        observer = MassObserver()
        with torch.no_grad():
            model.network(input_ids=tokens.to(model.device), use_cache=False, attn_observer=observer)
        masses.append(observer.take().mass.float().cpu().numpy())
    assert np.abs(masses[0] - masses[1]).max() < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", interpreted.masks())
def test_the_kernels_of_attention_mass_are_used_and_say_what_the_chunks_say(name, dtype):
    mask, causal = interpreted.masks()[name]
    mask = None if mask is None else mask.to("cuda")
    generator = torch.Generator().manual_seed(0)
    query, key = (
        torch.randn(2, heads, interpreted.LENGTH, 64, generator=generator).to("cuda", dtype) for heads in (4, 2)
    )
    inputs = AttentionInputs(query, key, key, mask, 0.125, causal)
    measured = fused.mass(query, key, mask, 0.125, causal)
    assert measured is not None, "the log says why not"
    assert (measured - inputs.chunked_mass()).abs().max() < fused.TOLERANCE


def test_a_recording_opens_and_its_heads_pay_all_their_attention(tmp_path):
    spec = RecordSpec(model=CUDA, prompt="mia has a dog .", sampling=LLaDASampling(gen_length=8, steps=4))
    recording = open_trajectory(JOBS["record"].run(spec, QuietContext(tmp_path)).file)
    sums = recording.mass.astype(np.float32).sum(axis=-1)
    assert np.allclose(sums, recording.positions, rtol=5e-3)


@pytest.mark.parametrize("changes", [{"streaming": "always"}, {"byte_budget": 0}, {"pattern": "2:4"}, {}])
def test_a_pruning_decides_as_on_the_cpu(tmp_path, changes):
    from analysis.pruned.masks_file import open_masks, pairs

    masks = []
    for device in ("cpu", "cuda"):
        spec = PruneSpec(
            model=ModelSpec(device=device, dtype="float32"),
            method="sink-wanda",
            calibration=LITTLE,
            out=str(tmp_path / device),
            **changes,
        )
        context = tmp_path / f"work-{device}"
        context.mkdir()
        masks.append(open_masks(str(JOBS["prune"].run(spec, QuietContext(context)).folder)))
    same = [float((first == second).mean()) for _, _, first, second in pairs(*masks)]
    assert min(same) > 0.999


def test_an_evaluation_says_as_on_the_cpu(tmp_path):
    scores = []
    for device in ("cpu", "cuda"):
        spec = EvaluateSpec(
            model=ModelSpec(device=device, dtype="float32"), tasks=("bundled_agreement",), limit=8, draws=4
        )
        context = tmp_path / device
        context.mkdir()
        scores.append(JOBS["evaluate"].run(spec, QuietContext(context)).summary["tasks"][0]["models"][0]["value"])
    assert scores[0] == scores[1]


def test_the_benchmark_of_one_card_runs(capsys):
    gpu.main(["--quick"])
    printed = capsys.readouterr().out
    assert all(f"| {row.format(16, 32, 64, 8)} | " in printed for row in gpu.ROWS)
