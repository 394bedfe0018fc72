"""Every family of checkpoints against every verb and the pages: recorded, pruned, evaluated with its copy and seen."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest
from transformers.models.distilbert.configuration_distilbert import DistilBertConfig
from transformers.models.distilbert.modeling_distilbert import DistilBertForMaskedLM

from analysis import jobs
from analysis.engine.runs import known_runs
from analysis.models import experts, native_code
from analysis.models.checkpoint import describe, open_folder
from analysis.models.families import ARCHITECTURES, Architecture
from analysis.models.load import register
from analysis.models.registry import BUNDLED_PAIR
from analysis.models.resident import release_resident
from analysis.recording.trajectory_file import open_trajectory
from analysis.specs import SAMPLINGS, CalibrationParams, EvaluateSpec, EvictSpec, ModelSpec, PruneSpec, RecordSpec
from pages.parts.session import engine
from tests.conftest import GOLDEN
from tests.helpers import ROOT, QuietContext, edit_config, save_tiny, save_tokenizer, there

MIXTURE: dict[str, Any] = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 8,
    "head_dim": 8,
    "use_sliding_window": False,
}


def golden(name: str, words: int = 100, **changes: Any) -> Callable[[Path], None]:
    """Makes a folder of a golden checkpoint, its config changed; with a tokenizer of so many words, or its own."""

    def make(folder: Path) -> None:
        shutil.copytree(GOLDEN / name, folder, ignore=shutil.ignore_patterns("g*e*.safetensors", "extra.safetensors"))
        if words:
            save_tokenizer(folder, size=words, mask=False)
        edit_config(folder, **changes)

    return make


def tiny(kind: str, **changes: Any) -> Callable[[Path], None]:
    """Makes a folder of a tiny random checkpoint of one of our classes."""

    def make(folder: Path) -> None:
        register()
        module = native_code if kind.startswith("A2D") else experts
        config = getattr(module, kind.removesuffix("LMHeadModel").removesuffix("ForCausalLM") + "Config")
        save_tiny(folder, getattr(module, kind), config, **changes)

    return make


def distilbert(folder: Path) -> None:
    """Makes a folder of a tiny random DistilBERT."""
    config = DistilBertConfig(vocab_size=64, dim=32, hidden_dim=48, n_layers=2, n_heads=4, max_position_embeddings=128)
    DistilBertForMaskedLM(config).save_pretrained(folder)
    save_tokenizer(folder)


WHOLE = ("dllm", "mdlm", "autoregressive")  # samplers without a cache
MMADA: dict[str, Any] = {"model_type": "mmada", "architectures": ["MMadaModelLM"]}
# A row of `ARCHITECTURES` each, by its key there; a second one of a row that is published in two shapes.
MADE: dict[str, Callable[[Path], None]] = {
    "llada": golden("llada-gqa", rope_scaling=None),
    "llada whole heads": golden("llada-mha"),
    "mmada": golden("llada-gqa", **MMADA),
    "Dream": golden("dream-gqa"),
    "a2d-llama": tiny("A2DLlamaLMHeadModel", dlm_paradigm="mdlm"),
    "a2d-qwen2": tiny("A2DQwen2LMHeadModel", dlm_paradigm="mdlm"),
    "a2d-qwen3": golden("a2d-qwen3", dlm_paradigm="mdlm"),
    "a2d-llama-bd3lm": tiny("A2DLlamaLMHeadModel", block_size=4),
    "a2d-qwen2-bd3lm": tiny("A2DQwen2LMHeadModel", block_size=4),
    "a2d-qwen3-bd3lm": golden("a2d-qwen3", block_size=4),
    "sdar": golden("sdar"),
    "fast-dllm-v2": golden("fast-dllm-v2", bd_size=4),
    "nemotron": golden("nemotron", block_size=4),
    "mdlm": golden("mdlm", words=90),
    "bd3lm-owt": golden("bd3lm-owt", words=90),
    "llada-moe": golden("lladamoe"),
    "llada2": golden("llada2", block_size=4),
    "llada21": golden("llada21", block_size=4, model_type="llada21_moe"),
    "diffusion-gemma": golden("diffusion-gemma", words=90),
    "bert": golden("bert-mlm", words=0),
    "roberta": golden("roberta-mlm", words=0),
    "distilbert": distilbert,
    "modernbert": golden("modernbert-mdlm", words=0),
    "modernbert-mdlm": golden("modernbert-mdlm", words=0, dlm_paradigm="mdlm"),
    "sdar-moe": tiny("SDARMoeForCausalLM", **MIXTURE, mask_token_id=1),
}


PAGES = ("explore", "causes", "prune")
SUMMARIES = ("start", "evidence", "runs", "sweep")  # show little of the model: a family opens one of them, in turn


def first_of_each(look: Callable[[Architecture], tuple[Any, ...]]) -> list[str]:
    """The first family of every look, for what does not depend on the shape of the weights."""
    return [*{look(ARCHITECTURES[name.split(" ")[0]]): name for name in reversed(MADE)}.values()]


# What a verb or the pages ask of a family.
EVICTED = first_of_each(lambda row: (row.sampler, row.attention, row.mixture, bool(row.why_no_cache)))
SCORED = first_of_each(lambda row: (row.noise, row.attention, row.mixture, row.calibration_noise, row.opens_causally))
OPENED = first_of_each(
    lambda row: (row.noise, row.attention, row.mixture, bool(row.caveat), bool(row.why_no_cache), row.opens_causally)
)


@pytest.fixture(scope="module", autouse=True)
def _own_engine(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SINKSCOPE_HOME", str(tmp_path_factory.mktemp("home")))
        engine.clear()
        yield
        engine().close()
        engine.clear()


@pytest.fixture(scope="module", params=[*MADE, *BUNDLED_PAIR])
def spec(request, tmp_path_factory) -> Iterator[ModelSpec]:
    source = request.param
    if source in MADE:
        source = str(tmp_path_factory.mktemp("family") / "model")
        MADE[request.param](Path(source))
        row = ARCHITECTURES[request.param.split(" ")[0]]
        family = open_folder(Path(source)).architecture
        assert (family.name, family.paradigm) == (row.name, row.paradigm)
    yield ModelSpec(source=source, device="cpu")
    release_resident()


@pytest.fixture(scope="module")
def recorded(spec, tmp_path_factory):
    """The file of a recording."""
    family = describe(spec)
    changes = {"small_block_length": 2} if family.sampler == "fast-dllm-v2" else {}
    changes |= {"steps_per_canvas": 2} if family.sampler == "diffusion-gemma" else {}
    length = there(family.block_size) if family.by_blocks else 4
    sampling = SAMPLINGS[family.sampler](gen_length=length, **changes)
    request = RecordSpec(model=spec, prompt="w54 w58 w10", sampling=sampling)
    return there(jobs.record(request, QuietContext(tmp_path_factory.mktemp("recording"))).file)


@pytest.fixture(scope="module")
def pruned(spec, tmp_path_factory):
    """The folder of a pruned copy, among the store's."""
    folder = tmp_path_factory.mktemp("pruning")
    text, out = folder / "text.jsonl", engine().store.root / "models" / f"pruned-{folder.name}"
    text.write_text(f'{{"input_ids": {list(range(5, 37))}}}\n')
    family = describe(spec)
    noise = family.calibration_noise if family.noise == "uniform" else "steps"
    calibration = CalibrationParams(
        data=str(text), samples=1, seq_len=32, noise=noise, diffusion_steps=2, step_interval=1
    )
    method = "wanda" if family.noise is None else "sink-wanda"
    asked = PruneSpec(model=spec, method=method, sparsity=0.6, calibration=calibration, out=str(out))
    jobs.prune(asked, QuietContext(folder))
    return out


def test_every_family_is_walked():
    assert {name.split(" ")[0] for name in MADE} == set(ARCHITECTURES)


def test_a_family_records(spec, recorded):
    recording = open_trajectory(recorded)
    mass, asking = recording.mass.astype(np.float32), np.diff(recording.queries, axis=1)[:, :, None]
    assert np.allclose(np.nansum(mass, axis=-1), asking, rtol=1e-3)
    assert recording.info.model.attention == describe(spec).attention


@pytest.mark.parametrize("spec", [*EVICTED, BUNDLED_PAIR[1]], indirect=True)
def test_eviction_that_keeps_everything_changes_no_token(spec, tmp_path):
    """Where positions can go, from a cache wherever the family has one."""
    family = describe(spec)
    changes = {"small_block_length": 2} if family.sampler == "fast-dllm-v2" else {}
    changes |= {"steps_per_canvas": 2} if family.sampler == "diffusion-gemma" else {}
    length = 2 * there(family.block_size) if family.by_blocks else 4
    if "steps_per_block" in SAMPLINGS[family.sampler].model_fields:
        changes |= {"steps_per_block": 2}  # a cache that is read and one that is written, of every block
    if family.sampler in ("llada", "dream") and not family.why_no_cache:
        changes, length = {"cache": "prefix", "block_length": 2, "steps": 4}, 4
    asked = EvictSpec(
        model=spec,
        prompts=("w54 w58 w10 w38", "w70 w67"),
        sampling=SAMPLINGS[family.sampler](gen_length=length, **changes),
        policies=("sinks",),
        budgets=(1.0,),
    )
    summary = jobs.JOBS["evict"].run(asked, QuietContext(tmp_path)).summary
    assert all(row["agreement"] == [1.0, 1.0] for row in summary["rows"])
    assert summary["gone"] == (not family.why_no_cache and family.sampler not in WHOLE)
    assert all(row["bytes"] == row["full_bytes"] for row in summary["rows"])


@pytest.mark.parametrize("spec", [*SCORED, *BUNDLED_PAIR], indirect=True)
def test_the_pruned_copy_of_a_family_is_evaluated_beside_it(spec, pruned, tmp_path):
    copy = spec.model_copy(update={"source": str(pruned)})
    asked = EvaluateSpec(model=spec, compare=(copy,), tasks=("bundled_agreement",), limit=2, draws=1)
    report = there(jobs.evaluate(asked, QuietContext(tmp_path)).summary)
    assert len(report["models"]) == 2


@pytest.mark.parametrize("spec", [*OPENED, *BUNDLED_PAIR], indirect=True)
def test_a_family_opens_on_the_pages(request, spec, recorded, pruned, tmp_path):
    moved = shutil.copyfile(recorded, tmp_path / "recording.safetensors")
    recording = engine().add_recording(moved)
    assert pruned.resolve() in {run.folder.resolve() for run in known_runs(engine()) if run.folder is not None}
    caveat = describe(spec).caveat
    test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    test.session_state["model_in_use"] = spec
    turn = [*OPENED, *BUNDLED_PAIR].index(request.node.callspec.params["spec"])
    for page in (*PAGES, SUMMARIES[turn % len(SUMMARIES)]):
        test.switch_page(f"pages/{page}.py")
        test.query_params["recording"] = recording.id
        test.run()
        assert not test.exception, (page, test.exception)
        errors = [element.value for element in test.error if not element.value.endswith("new tokens fit.")]
        assert not errors, (page, errors)
        noted = any("not trained as a diffusion model" in caption.value for caption in test.sidebar.caption)
        assert noted == bool(caveat), page
    assert not engine().jobs("prune"), "opening a page starts nothing"
