"""What an estimate says, against what a pruning then does: phases, work and bytes are counted, nothing is timed."""

import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.profiler import ProfilerActivity, profile

from analysis.calibration import activations
from analysis.models.checkpoint import find
from analysis.models.load import load
from analysis.pruning import algorithm, pipeline
from analysis.pruning import estimate as estimating
from analysis.pruning.estimate import estimate
from analysis.pruning.run import DENSE, OUTLIERS, PRUNING, QUANTIZATIONS, QUOTA, TAILS, TOKENS, PruningRun
from analysis.pruning.sparsegpt import factorize
from analysis.specs import METHODS, CalibrationParams, ModelSpec, PruneSpec, QuantizationParams
from tests.helpers import QuietContext, edit_config, there

# As many batches of one size, so that none is cut short.
TEXT = CalibrationParams(samples=16, seq_len=128, step_interval=25)
SHORT = TEXT.model_copy(update={"seq_len": 24, "step_interval": 10})  # four batches of four
ALIKE = ("sham-wanda", "light-wanda", "sham-sparsegpt")  # hold what the method holds whose tokens they weigh otherwise
LONG = (DENSE, OUTLIERS, TAILS, QUOTA, TOKENS, PRUNING)


@pytest.fixture
def clock(monkeypatch, small):
    """A clock that goes on by one for every sequence that passes through a block, private copies included."""
    passed = [0.0]
    kind = type(small.blocks[0])
    forward = kind.forward

    def counted(self, states, *arguments, **options):
        passed[0] += len(states)
        return forward(self, states, *arguments, **options)

    monkeypatch.setattr(kind, "forward", counted)
    for module in (activations, algorithm, estimating):
        monkeypatch.setattr(module, "TOKENS_A_FORWARD", 4 * SHORT.seq_len)
    monkeypatch.setattr(estimating.time, "perf_counter", lambda: passed[0])
    return passed


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """The bundled model's first two layers: with a text, a pruning holds no more of all eight."""
    folder = shutil.copytree(there(find("bundled")).folder, tmp_path_factory.mktemp("wide") / "model")
    weights = load_file(folder / "model.safetensors")
    first = {name: weight for name, weight in weights.items() if not re.search(r"blocks\.[2-9]\.", name)}
    save_file(first, folder / "model.safetensors", {"format": "pt"})
    edit_config(folder, n_layers=2)
    return load(ModelSpec(source=str(folder), device="cpu"))


def peak_bytes(run, mapped: set[int]) -> int:
    """The most bytes that tensors allocated while `run` works held at once, as the allocator counts them.

    mapped: sizes of files that are mapped, which the allocator counts as if they were memory.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        if abs(event.nbytes()) not in mapped:
            held += event.nbytes()
        peak = max(peak, held)
    return peak


def _named(option: str | QuantizationParams) -> str:
    return option if isinstance(option, str) else option.quantizer


@pytest.mark.parametrize(
    ("method", "options"),
    [
        *((method, {}) for method in METHODS if method not in ALIKE),
        *((method, {"allocation": "owl"}) for method in ("magnitude", "sink-sparsegpt")),
        ("wanda", {"ranking": "dense", "quota_scope": "model"}),
        ("sink-wanda", {"ranking": "layerwise", "allocation": "owl-projection"}),
        ("magnitude", {"allocation": "alpha"}),
        ("magnitude", {"quantization": QuantizationParams(bits=4)}),
        ("none", {"quantization": QuantizationParams(bits=4, quantizer="gptq-noised")}),
        ("wanda", {"quantization": QuantizationParams(bits=4, quantizer="sink-gptq", group=64)}),
        ("sink-wanda", {"ranking": "layerwise", "quantization": QuantizationParams(bits=4, quantizer="gptq")}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(_named, value.values())),
)
def test_the_work_of_each_phase_is_what_it_then_does(small, tmp_path, monkeypatch, clock, method, options):
    spec = PruneSpec(model=small.spec, method=method, calibration=SHORT, out=str(tmp_path / "p"), **options)
    estimated = estimate(small, spec, QuietContext(tmp_path))["seconds"]
    done: dict[str, float] = {}
    measured_phase = PruningRun.phase

    def counted_phase(run, name):
        started = clock[0]
        context = measured_phase(run, name)
        leave = context.__exit__

        class Counted:
            def __enter__(self):
                return context.__enter__()

            def __exit__(self, *error):
                done[name] = clock[0] - started
                return leave(*error)

        return Counted()

    monkeypatch.setattr(PruningRun, "phase", counted_phase)
    pipeline.prune(small, spec, QuietContext(tmp_path))
    assert set(estimated) == set(done) & set(LONG)
    for phase, work in estimated.items():
        assert work == pytest.approx(done[phase], rel=0.02, abs=0.02), phase


@pytest.mark.parametrize(
    ("method", "options"),
    [
        *((method, {}) for method in ("magnitude", "sink-wanda", "sink-sparsegpt")),
        ("wanda", {"ranking": "dense"}),
        ("none", {"quantization": QuantizationParams(bits=4, quantizer="gptq", group=64)}),
    ],
)
def test_the_memory_is_what_tensors_then_hold(wide, bundled, tmp_path, method, options):
    model = wide if METHODS[method].calibrated or options else bundled
    spec = PruneSpec(model=model.spec, method=method, calibration=TEXT, out=str(tmp_path / "p"), **options)
    estimated = estimate(model, spec, QuietContext(tmp_path))["memory_bytes"]
    files = {file.stat().st_size for file in model.checkpoint.weight_files}
    peak = peak_bytes(lambda: pipeline.prune(model, spec, QuietContext(tmp_path)), files)
    assert 0.6 * peak < estimated < 1.3 * peak


@pytest.mark.parametrize("quantizer", ["rtn", "gptq"])
def test_the_bytes_of_quantizing_a_matrix_are_those_that_it_holds(quantizer):
    shape = (512, 512)
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    factor = factorize(torch.eye(shape[1])) if quantizer == "gptq" else None
    quantization, params = QUANTIZATIONS[quantizer], QuantizationParams(bits=4, quantizer=quantizer, group=64)
    peak = peak_bytes(lambda: quantization.quantize(weight, factor, params), set())
    assert peak == pytest.approx(quantization.bytes_per_weight * weight.numel(), rel=0.1)
