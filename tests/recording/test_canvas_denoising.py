"""DiffusionGemma, against what transformers' own `generate()` does with the same checkpoint (tests/golden)."""

import json
import shutil
from collections.abc import Iterator

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from analysis import jobs
from analysis.attention import CanvasMassObserver
from analysis.errors import UserError
from analysis.models.canvas import denoised, new_cache, read
from analysis.models.load import load
from analysis.models.resident import release_resident
from analysis.models.tokenizer import uses_chat
from analysis.recording.canvas_denoising import accepted_by_entropy, finished
from analysis.recording.denoising import denoise, read_steps
from analysis.recording.trajectory_file import open_trajectory
from analysis.sinks.step_inputs import TokenState, changes
from analysis.specs import DiffusionGemmaSampling, ModelSpec, RecordSpec, SDARSampling
from tests.conftest import GOLDEN
from tests.helpers import QuietContext, save_tokenizer

FOLDER = GOLDEN / "diffusion-gemma"
RUNS = ("early", "tight")
CANVAS = 16


@pytest.fixture(scope="module")
def model():
    return load(ModelSpec(source=str(FOLDER), device="cpu"))


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(FOLDER / "golden.safetensors")


def settings(run: str) -> tuple[DiffusionGemmaSampling, int]:
    """The sampler's parameters of a golden run, and its seed."""
    with safe_open(FOLDER / "golden.safetensors", "pt") as file:
        asked = json.loads(file.metadata()[run])
    sampling = DiffusionGemmaSampling(
        gen_length=asked["max_new_tokens"],
        steps_per_canvas=asked["max_denoising_steps"],
        entropy_bound=asked["entropy_bound"],
        temperature_start=asked["t_max"],
        temperature_end=asked["t_min"],
        stable_steps=asked["stability_threshold"],
        sure_entropy=asked["confidence_threshold"],
    )
    return sampling, asked["seed"]


@pytest.fixture(scope="module", params=RUNS)
def run(request, model, golden):
    sampling, seed = settings(request.param)
    with safe_open(FOLDER / "golden.safetensors", "pt") as file:
        ends = json.loads(file.metadata()[request.param])["eos_token_id"]
    config = model.network.generation_config
    usual, config.eos_token_id = config.eos_token_id, ends
    steps = list(denoise(model, golden["prompt_ids"].long(), sampling, seed))
    config.eos_token_id = usual
    return request.param, sampling, steps


def test_every_step_and_the_text_equal_generate_at_the_same_seed(run, golden):
    name, _, steps = run
    expected = {key: golden[f"{name}|{key}"].long() for key in ("block", "canvas", "output", "likeliest", "sequences")}
    assert [step.choice.block - 1 for step in steps] == expected["block"].tolist()
    accepted = golden[f"{name}|accepted"].bool()
    for number, step in enumerate(steps):
        choice = step.choice
        start, end = choice.open_block
        assert torch.equal(choice.tokens[0, start:end], expected["canvas"][number])
        last = number == len(steps) - 1 or steps[number + 1].choice.block != choice.block
        if not last:
            assert torch.equal(choice.output[0, start:end], expected["output"][number])
            assert torch.equal(choice.chosen[0, start:end], accepted[number])
    assert torch.equal(steps[-1].choice.output[0], expected["sequences"])


def test_native_generate_gives_the_same_text(model, golden):
    sampling, seed = settings("tight")
    sampling = sampling.model_copy(update={"gen_length": 2 * CANVAS, "steps_per_canvas": 3})
    config = model.network.generation_config
    torch.manual_seed(seed)
    native = model.network.generate(
        golden["prompt_ids"].long(),
        max_new_tokens=sampling.gen_length,
        max_denoising_steps=sampling.steps_per_canvas,
        sampler_config=type(config.sampler_config)(entropy_bound=sampling.entropy_bound)
        if not isinstance(config.sampler_config, dict)
        else {**config.sampler_config, "entropy_bound": sampling.entropy_bound},
        t_min=sampling.temperature_end,
        t_max=sampling.temperature_start,
        stability_threshold=sampling.stable_steps,
        confidence_threshold=sampling.sure_entropy,
    )
    native = getattr(native, "sequences", native)
    ours = list(denoise(model, golden["prompt_ids"].long(), sampling, seed))[-1].choice.output
    assert torch.equal(native, ours)


@pytest.mark.parametrize("name", ["early"])
def test_logits_and_masses_equal_the_golden_ones_on_the_golden_inputs(model, golden, name):
    sampling, _ = settings(name)
    text, given = golden[f"{name}|sequences"].long()[None], golden["prompt_ids"].shape[1]
    blocks = golden[f"{name}|block"].tolist()
    for number, block in enumerate(blocks):
        start = given + CANVAS * block
        cache, reading = new_cache(model.network), CanvasMassObserver()
        for begin in (0, *range(given, start, CANVAS)):
            end = given if begin == 0 else begin + CANVAS
            read(model.network, text[:, begin:end], cache, begin, reading)
            mass = reading.take(end)
        assert (mass[0] - golden[f"{name}|encoder_mass_{block}"]).abs().max() < 2e-4
        believed = None
        if number and blocks[number - 1] == block:
            left = sampling.steps_per_canvas - blocks[:number].count(block) + 1
            fall = sampling.temperature_start - sampling.temperature_end
            before = sampling.temperature_end + fall * left / sampling.steps_per_canvas
            believed = (golden[f"{name}|logits"][number - 1] / before)[None]
        observer = CanvasMassObserver()
        canvas = golden[f"{name}|canvas"][number][None].long()
        logits = denoised(model.network, canvas, cache, start, believed, observer)
        assert (logits[0] - golden[f"{name}|logits"][number]).abs().max() < 2e-4
        expected = golden[f"{name}|mass"][number, :, :, : start + CANVAS]
        assert (observer.take(start + CANVAS)[0] - expected).abs().max() < 2e-4


def test_states_say_what_was_kept_and_what_became_random_again(run, golden):
    name, _, steps = run
    accepted = golden[f"{name}|accepted"].bool()
    for number, step in enumerate(steps):
        start, end = step.choice.open_block
        state = step.choice.state[0]
        given = golden["prompt_ids"].shape[1]
        assert (state[:given] == TokenState.GIVEN).all()
        assert (state[given:start] == TokenState.COMMITTED).all()
        kept = state[start:end] == TokenState.ACCEPTED
        begins = number == 0 or steps[number - 1].choice.block != step.choice.block
        assert torch.equal(kept, torch.zeros_like(kept) if begins else accepted[number - 1])
        assert ((state[start:end] == TokenState.UNDECIDED) == ~kept).all()
        assert step.choice.query_range == (start, end)
        assert step.value_norm is None
        assert torch.allclose(step.mass.sum(dim=-1), torch.tensor(float(CANVAS)), atol=1e-3)


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> Iterator[ModelSpec]:
    folder = shutil.copytree(FOLDER, tmp_path_factory.mktemp("model") / "diffusion-gemma-tiny-it")
    save_tokenizer(folder, size=90, mask=False)
    yield ModelSpec(source=str(folder), device="cpu")
    release_resident()


def test_a_recording_holds_what_each_layer_sees_and_no_norms_of_values(spec, tmp_path):
    sampling = DiffusionGemmaSampling(gen_length=32, steps_per_canvas=4, entropy_bound=2)
    prompt = " ".join(f"w{index}" for index in range(10, 24))
    outcome = jobs.record(RecordSpec(model=spec, prompt=prompt, sampling=sampling, seed=3), QuietContext(tmp_path))
    recording = open_trajectory(outcome.file)
    assert (recording.info.model.noise, recording.info.model.mask_token) == ("uniform", None)
    assert recording.info.model.windows == (10, 10, 0, 10, 10, 0)
    assert recording.value_norm is None
    assert recording.info.by_blocks
    for step in range(recording.steps):
        start, end = recording.queries[step]
        assert end - start == CANVAS
        # Windowed layers hold no key before the canvas's window; the others hold all.
        assert (recording.mass[step, 0, :, : start - 9] == 0).all()
        assert (recording.mass[step, 2, :, :end] > 0).all()
    uniform = recording.pattern.uniform_mass
    assert uniform.shape[1] == recording.layers
    assert (uniform[0, 0, 0, : recording.queries[0, 0] - 9] == 0).all()
    changed = changes(recording.tokens, recording.state, recording.final, recording.info.model.mask_token)
    assert changed.taken_back.any()


def test_the_encoders_passes_are_a_causal_recording_with_the_golden_masses(model, golden, tmp_path):
    sampling, seed = settings("early")
    steps = list(read_steps(model, golden["prompt_ids"].long(), sampling, seed))
    assert len(steps) == 3
    for number, step in enumerate(steps):
        expected = golden[f"early|encoder_mass_{number}"]
        start, end = step.choice.query_range
        assert end == expected.shape[-1]
        assert (step.mass[0] - expected).abs().max() < 2e-4
        assert step.routing.experts.shape == (1, 6, end - start, 2)


def test_a_recording_of_the_reader_is_causal_and_one_of_a_model_without_is_refused(spec, tmp_path):
    sampling = DiffusionGemmaSampling(gen_length=32, steps_per_canvas=3, entropy_bound=2)
    prompt = " ".join(f"w{index}" for index in range(10, 24))
    asked = RecordSpec(model=spec, prompt=prompt, sampling=sampling, observe="reader")
    recording = open_trajectory(jobs.record(asked, QuietContext(tmp_path)).file)
    assert recording.info.model.attention == "causal"
    assert recording.queries.tolist() == [[0, 14], [14, 30]]
    uniform = recording.pattern.uniform_mass[0]
    assert uniform[2, 0, 0] > uniform[2, 0, 13] > 0, "earlier tokens are read by more"
    assert recording.experts.shape[1] == 6
    llada = ModelSpec(source=str(GOLDEN / "sdar"), device="cpu")
    with pytest.raises(UserError, match="no encoder"):
        list(read_steps(load(llada), torch.zeros(1, 4, dtype=torch.long), SDARSampling(gen_length=4), 0))


def test_what_needs_a_mask_token_is_refused_with_the_reason(spec, model, tmp_path):
    with pytest.raises(UserError, match="canvas of random tokens"):
        model.predict(torch.zeros(1, 4, dtype=torch.long))
    with pytest.raises(UserError, match="one text at a time"):
        list(denoise(model, torch.zeros(2, 4, dtype=torch.long), DiffusionGemmaSampling(), 0))
    with pytest.raises(UserError, match="at least one prompt token"):
        list(denoise(model, torch.zeros(1, 0, dtype=torch.long), DiffusionGemmaSampling(), 0))
    for asked, said in (("by_query", "of its canvas"), ("drift", "writes on a canvas")):
        asking = RecordSpec(model=spec, prompt="w5", sampling=DiffusionGemmaSampling(gen_length=32), **{asked: True})
        with pytest.raises(UserError, match=said):
            jobs.record(asking, QuietContext(tmp_path))


def test_a_name_that_ends_in_it_is_an_instruct_models(spec):
    class Chatty:
        chat_template = "x"

    assert uses_chat("google/diffusiongemma-26B-A4B-it", Chatty(), "auto")
    assert not uses_chat("google/diffusiongemma-26B-A4B", Chatty(), "auto")
    assert not uses_chat("someone/summit", Chatty(), "auto")


def test_a_step_keeps_at_least_one_token_and_those_whose_entropies_fit_the_bound():
    entropy = torch.tensor([[0.3, 0.1, 0.2, 5.0]])
    assert accepted_by_entropy(entropy, 0).tolist() == [[False, True, False, False]]
    assert accepted_by_entropy(entropy, 0.11).tolist() == [[False, True, True, False]]
    assert accepted_by_entropy(entropy, 0.7).tolist() == [[True, True, True, True]]


def test_padding_follows_the_first_end_alone():
    canvas, ends = torch.tensor([[7, 1, 8, 1, 9]]), torch.tensor([1])
    assert finished(canvas, ends, 0).tolist() == [[7, 1, 0, 0, 0]]
    assert finished(canvas, ends, None).tolist() == canvas.tolist()


def test_saving_and_loading_gives_the_same_model(model, golden, tmp_path):
    model.network.save_pretrained(tmp_path)
    again = load(ModelSpec(source=str(tmp_path), device="cpu"))
    sampling = DiffusionGemmaSampling(gen_length=CANVAS, steps_per_canvas=3, entropy_bound=1)
    texts = [list(denoise(one, golden["prompt_ids"].long(), sampling, 5))[-1].choice.output for one in (model, again)]
    assert torch.equal(*texts)
