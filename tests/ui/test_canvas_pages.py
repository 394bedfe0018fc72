"""Pages on a model whose noise is random tokens: what they call undecided, what they score, and what is not offered."""

import shutil

import pytest
from streamlit.testing.v1 import AppTest

from analysis import jobs
from analysis.errors import UserError
from analysis.models.families import ARCHITECTURES
from analysis.models.family import why_no_experts_are_cut
from analysis.models.resident import release_resident, resident_spec
from analysis.recording.set_file import open_set
from analysis.specs import (
    CANVAS_SCORES,
    NO_MASKED_ESTIMATE,
    NOISES,
    DiffusionGemmaSampling,
    ModelSpec,
    PruneSpec,
    RecordSetSpec,
    RecordSpec,
)
from pages.parts.session import engine
from pages.parts.tokens import legend, token_text
from tests.conftest import GOLDEN
from tests.helpers import QuietContext, save_tokenizer
from tests.ui.helpers import app, charts, texts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = shutil.copytree(GOLDEN / "diffusion-gemma", tmp_path_factory.mktemp("model") / "tiny-gemma")
    save_tokenizer(made, size=90, mask=False)
    return made


@pytest.fixture(scope="module")
def recording(folder, tmp_path_factory):
    spec = RecordSpec(
        model=ModelSpec(source=str(folder), device="cpu"),
        prompt="w10 w38 w70 w67 w12",
        sampling=DiffusionGemmaSampling(gen_length=16, steps_per_canvas=3, entropy_bound=2),
    )
    outcome = jobs.record(spec, QuietContext(tmp_path_factory.mktemp("recording")))
    release_resident()
    return engine().add_recording(outcome.file)


def test_kinds_say_undecided_where_there_is_no_mask(recording):
    tables = {f"{name}_table": "true" for name in ("kinds_over_steps", "regions_over_steps")}
    for split in ({}, {"split": "[MASK] only"}, {"split": "undecided only"}):
        test = app("pages/explore.py", recording=recording.id, tab="Dynamics", **tables, **split)
        assert "random tokens here" in texts(test) and "[MASK]" not in texts(test)
        columns = {column for frame in test.dataframe for column in frame.value.columns}
        assert "undecided" in columns and "[MASK]" not in columns
        assert not test.exception


def test_curves_of_a_model_in_a_folder_are_called_after_the_folder(recording, folder):
    names = _legend(app("pages/explore.py", recording=recording.id, tab="Dynamics"))
    assert folder.name in names and str(folder) not in names


def _legend(test: AppTest) -> set[str]:
    return {trace.get("name", "") for shown in charts(test) for trace in shown["figure"]["data"]}


def test_a_set_of_recordings_is_made_without_random_weights_and_refused_with_them_before_any_work(folder, tmp_path):
    asked = {
        "model": ModelSpec(source=str(folder), device="cpu"),
        "prompts": "own",
        "own_prompts": ("w10 w38 w70", "w12 w38 w71"),
        "sampling": DiffusionGemmaSampling(gen_length=16, steps_per_canvas=2, entropy_bound=2),
    }
    with pytest.raises(UserError, match="Set the random-weight models to 0"):
        jobs.record_set(RecordSetSpec(**asked), QuietContext(tmp_path))
    outcome = jobs.record_set(RecordSetSpec(**asked, random_models=0), QuietContext(tmp_path))
    release_resident()
    assert open_set(outcome.file).kinds[0] == "undecided"


def test_a_text_being_written_shows_its_noise_as_undecided():
    html = token_text(["a", "noise"], [0, 3], [None, None], [False, False], random_tokens=True)
    assert "noise</span>" in html and "undecided: a random token" in html and "[MASK]" not in html
    assert "undecided: noise" in legend(random_tokens=True) and "[MASK]" in legend()


def test_accuracy_says_who_gives_likelihoods_and_memory_counts_experts_and_canvas(folder):
    test = app("pages/prune.py", source=str(folder))
    for sentence in (CANVAS_SCORES["reader"].sentence, NO_MASKED_ESTIMATE):
        assert sentence in texts(test)
    table = "\n".join(str(frame.value) for frame in test.table)
    assert "of which experts" in table and "Logits of a canvas" in table
    choosing = AppTest.from_function(_choice, args=(str(folder),)).run()
    assert choosing.selectbox(key="accuracy_canvas_score").options == list(CANVAS_SCORES)
    choosing.selectbox(key="accuracy_canvas_score").set_value("denoiser").run()
    assert CANVAS_SCORES["denoiser"].sentence in texts(choosing)


def test_only_the_models_own_noise_is_offered_to_prune_with(folder):
    test = app("pages/prune.py", "fold_prune_calibration", source=str(folder))
    assert test.selectbox(key="prune_noise_random").options == ["random-tokens", "none"]
    assert not test.button(key="prune").disabled and "authors' script" not in texts(test)
    assert "experts" in test.selectbox(key="prune_pattern").options
    masked = app("pages/prune.py", "fold_prune_calibration").selectbox(key="prune_noise").options
    assert masked == [name for name in NOISES if name != "random-tokens"]


def test_a_sweep_of_it_offers_its_own_noise_and_all_of_the_rest(folder):
    test = app("pages/sweep.py", "fold_sweep", source=str(folder), sweep_samples="4")
    assert test.selectbox(key="sweep_noise_random").options == ["random-tokens", "none"]
    assert "uniform" in test.selectbox(key="sweep_allocation").options, "also the name of a noise"


def _choice(source: str) -> None:
    from analysis.specs import ModelSpec
    from pages.parts.accuracy.choice import choose_score

    choose_score(ModelSpec(source=source))


def test_experts_are_cut_only_out_of_models_that_have_some(tmp_path):
    assert "experts" not in app("pages/prune.py").selectbox(key="prune_pattern").options
    test = app("pages/prune.py", prune_pattern="experts")
    assert test.button(key="prune").disabled and "have no experts to cut out" in texts(test)
    with pytest.raises(UserError, match="no experts to cut out"):
        jobs.prune(PruneSpec(pattern="experts", method="magnitude"), QuietContext(tmp_path))
    assert resident_spec() is None, "nothing was loaded to say so"


def test_families_with_experts_say_whether_they_can_be_cut():
    told = {name: why_no_experts_are_cut(row) for name, row in ARCHITECTURES.items()}
    assert {name for name, why in told.items() if not why} == {
        "llada-moe",
        "llada2",
        "llada21",
        "sdar-moe",
        "diffusion-gemma",
    }
