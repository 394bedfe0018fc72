"""Scores of DiffusionGemma's answers, of its reader, denoiser and sampler, against transformers' own classes."""

import json
import math
import shutil

import pytest
import torch
from lm_eval.api.instance import Instance
from safetensors.torch import load_file
from transformers import DiffusionGemmaForBlockDiffusion

from analysis import jobs
from analysis.errors import UserError
from analysis.evaluation import conditions
from analysis.evaluation.canvas_likelihood import canvas_log_likelihoods
from analysis.evaluation.language_model import LanguageModel, Settings
from analysis.evaluation.likelihood import Budget, Request, log_likelihoods, seed_of
from analysis.evaluation.masked_sets import hashed
from analysis.evaluation.results import read
from analysis.models.load import load
from analysis.recording.denoising import denoise
from analysis.specs import DiffusionGemmaSampling, EvaluateSpec, ModelSpec, kept_of
from tests.conftest import GOLDEN
from tests.helpers import QuietContext, save_tokenizer

FOLDER = GOLDEN / "diffusion-gemma"
CANVAS = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = shutil.copytree(FOLDER, tmp_path_factory.mktemp("model") / "tiny-gemma")
    save_tokenizer(made, size=90, mask=False)
    return made


@pytest.fixture(scope="module")
def model(folder):
    return load(ModelSpec(source=str(folder), device="cpu"))


@pytest.fixture(scope="module")
def network():
    return DiffusionGemmaForBlockDiffusion.from_pretrained(FOLDER, attn_implementation="eager").eval()


def test_the_reader_gives_the_golden_likelihoods_by_the_chain_rule(model):
    extra = load_file(FOLDER / "extra.safetensors")
    length = 6  # as the folder's metadata says
    requests = [
        Request(tuple(prefix), tuple(canvas[:length]))
        for prefix, canvas in zip(extra["prefix"].tolist(), extra["canvas_clean"].tolist(), strict=True)
    ]
    mixed = [*requests, Request(requests[0].context, requests[0].continuation[:2])]
    results = canvas_log_likelihoods(model, mixed, "reader", 1, 0, budget=Budget(tokens=40))
    assert [result.value for result in results[:3]] == pytest.approx(extra["causal"].tolist(), abs=2e-4)
    assert all(result.exact and result.draws == 1 for result in results)
    assert results[3].tokens == 2 and results[3].value > results[0].value
    parts = [
        canvas_log_likelihoods(
            model, [Request((*requests[0].context, *requests[0].continuation[:n]), (token,))], "reader", 1, 0
        )[0]
        for n, token in enumerate(requests[0].continuation)
    ]
    assert math.fsum(part.value for part in parts) == pytest.approx(results[0].value, abs=1e-4)
    assert results[0].greedy == all(part.greedy for part in parts)


def test_the_denoiser_gives_its_mean_probability_over_canvases_of_pure_noise(model, network):
    context, draws, seed = (7, 21, 5, 60, 33), 5, 3
    requests = [Request(context, (token,), "letters", "an item") for token in range(model.geometry.vocabulary)]
    results = canvas_log_likelihoods(model, requests, "denoiser", draws, seed)
    generator = torch.Generator().manual_seed(hashed((seed, "letters", "an item")) % 2**63)
    canvases = [torch.randint(0, 96, (1, CANVAS), generator=generator) for _ in range(draws)]
    with torch.no_grad():
        every = [
            network(input_ids=torch.tensor([context]), decoder_input_ids=canvas).logits[0, 0].double().softmax(-1)
            for canvas in canvases
        ]
    expected = torch.stack(every).mean(dim=0)
    assert [result.value for result in results] == pytest.approx(expected.log().tolist(), abs=1e-4)
    assert math.fsum(math.exp(result.value) for result in results) == pytest.approx(1, abs=1e-5)
    assert [result.greedy for result in results].index(True) == int(expected.argmax())
    assert not results[0].exact and results[0].draws == draws
    other = canvas_log_likelihoods(model, requests[:2], "denoiser", draws, seed + 1)
    assert other[0].value != results[0].value
    alone = canvas_log_likelihoods(model, requests[1:2], "denoiser", draws, seed)
    assert alone[0].value == results[1].value, "company changes nothing"


def test_the_reader_is_not_the_denoiser_and_no_masked_estimate_is_made(model):
    request = Request((7, 21, 5), (9,))
    by = {name: canvas_log_likelihoods(model, [request], name, 4, 0)[0].value for name in ("reader", "denoiser")}
    assert by["reader"] != pytest.approx(by["denoiser"], abs=1e-3)
    with pytest.raises(UserError, match="No masked-diffusion likelihood"):
        log_likelihoods(model, [request])


@pytest.mark.parametrize(
    ("by", "context", "answer", "told"),
    [
        ("denoiser", (3, 4), (5, 6), "answers of one token alone"),
        ("reader", (), (5,), "at least one context token"),
        ("reader", (3,), (), "no likelihood"),
        ("denoiser", tuple(range(90)) * 6, (5,), "Context and canvas make 556 tokens"),
        ("reader", tuple(range(90)) * 6, (5,), "Context and answer make 541 tokens"),
    ],
)
def test_what_has_no_such_likelihood_is_refused(model, by, context, answer, told):
    with pytest.raises(UserError, match=told):
        canvas_log_likelihoods(model, [Request(context, answer, "a task")], by, 2, 0)


def test_written_answers_are_the_samplers_own_cut_to_the_tokens_asked_for(model, monkeypatch):
    few_steps, sampling_of = {"steps_per_canvas": 8}, LanguageModel._sampling
    monkeypatch.setattr(LanguageModel, "_sampling", lambda *given: sampling_of(*given).model_copy(update=few_steps))
    asked = Instance("generate_until", {}, ("w10 w11 w12 w13", {"until": ["w0."], "max_gen_toks": 9}), 0)
    asked.task_name = "written"
    forwards = []
    writer = LanguageModel(model, Settings(seed=5))
    writer.on_forward = lambda: forwards.append(1)
    (text,) = writer.generate_until([asked])
    prompt = torch.tensor([writer.tok_encode("w10 w11 w12 w13")])
    seed = seed_of(Request(tuple(prompt[0].tolist()), (), "written"), 5) % 2**31
    steps = list(denoise(model, prompt, DiffusionGemmaSampling(gen_length=9, **few_steps), seed))
    written = steps[-1].choice.output[0, prompt.shape[1] :][:9].tolist()
    end = next((place for place, token in enumerate(written) if token == 1), None)
    assert text == model.tokenizer.decode(written[:end], skip_special_tokens=True)
    assert len(forwards) == len(steps)
    few = LanguageModel(model, Settings(seed=5), kept=kept_of("recent:0.1"))
    assert few.generate_until([asked]) != [text]


def test_an_evaluation_says_who_gave_its_likelihoods_and_such_are_never_mixed(folder, tmp_path):
    task = tmp_path / "tasks"
    task.mkdir()
    rows = [{"q": f"w{n} w{n + 1}", "a": n % 2} for n in range(10, 16)]
    (task / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (task / "letters.yaml").write_text(
        "task: letters\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: "
        f"{task / 'rows.jsonl'}\ntest_split: test\noutput_type: multiple_choice\n"
        "doc_to_text: '{{q}}'\ndoc_to_choice: ['w1', 'w2']\ndoc_to_target: a\n"
        "metric_list:\n  - metric: acc\n"
    )
    model = ModelSpec(source=str(folder), device="cpu")
    asked = {"model": model, "tasks": ("letters",), "include_path": str(task), "draws": 2, "chat_template": "off"}
    results = {}
    for by in ("reader", "denoiser"):
        place = tmp_path / by
        place.mkdir()
        results[by] = read(jobs.evaluate(EvaluateSpec(**asked, canvas_score=by), QuietContext(place)).file)
    assert all(len(found.answers) == 6 for found in results.values())
    scored = [conditions.scoring(found.header, found.header.models[0], {}) for found in results.values()]
    assert conditions.differing(*scored) == ["likelihood"]
    assert conditions.told("likelihood", "reader") == "the encoder, which reads and does not write"
    values = [[answer.values for answer in found.answers.values()] for found in results.values()]
    assert values[0] != values[1]
    keepings = {"compare": (model,) * 2, "kept": ("everything", "sinks:0.3", "sinks:0.3:random:1")}
    kept = read(jobs.evaluate(EvaluateSpec(**asked, **keepings), QuietContext(tmp_path)).file)
    of_model = [[kept.answers[key, number].values for key in kept.documents] for number in range(3)]
    assert of_model[0] == [results["reader"].answers[key, 0].values for key in kept.documents]
    assert of_model[0] != of_model[1] != of_model[2]
    assert [one.kept for one in kept.models] == ["", "sinks:0.3", "sinks:0.3:random:1"]
    llada = ModelSpec(source=str(GOLDEN / "llada-mha"), device="cpu")
    with pytest.raises(UserError, match="are compared among themselves"):
        jobs.evaluate(EvaluateSpec(**asked, compare=(llada,)), QuietContext(tmp_path))
