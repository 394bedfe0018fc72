"""An address may show what is there, and never starts a job: every page, opened the way a followed link opens it."""

import pytest

from analysis.specs import CalibrateSpec, LLaDASampling, ModelSpec, RecordSpec
from cache.keys import content_key
from pages.parts.session import engine
from tests.helpers import save_pruned
from tests.ui.helpers import app, texts
from training.measure import pruned_copy

pytestmark = pytest.mark.slow
SAMPLING = LLaDASampling(gen_length=6, steps=3)


@pytest.fixture(scope="module")
def recording():
    """A finished recording, whose reference, noise, ablation and maps were never asked for."""
    record = engine().submit("record", RecordSpec(prompt="joe finds a red ball .", sampling=SAMPLING, seed=11))
    return engine().wait(record.id, 300)


@pytest.fixture(scope="module")
def folders(bundled, tmp_path_factory):
    """Two pruned models that no job has recorded."""
    root = tmp_path_factory.mktemp("pruned")
    return [
        str(save_pruned(pruned_copy(bundled, "magnitude", sparsity, []), root / str(sparsity)))
        for sparsity in (0.5, 0.505)
    ]


def asked_of_statistics() -> str:
    """Return the key of the statistics in Prune's address after its button was pressed."""
    spec = CalibrateSpec(model=ModelSpec(source="bundled"))
    return content_key(spec=spec.model_dump(mode="json"))[:12]


ADDRESSES = {
    "study of another": ("pages/start.py", {"source": "bundled-ar"}),
    "example of a study": ("pages/start.py", {"study": "example"}),
    "pruning": ("pages/prune.py", {"source": "bundled", "prune_samples": "3", "prune_sparsity": "0.7"}),
    "tuning as it was asked": ("pages/prune.py", {"statistics": asked_of_statistics()}),
    "suggesting": ("pages/prune.py", {"prune_view": "Suggest settings", "suggest_trials": "5"}),
    "map": ("pages/explore.py", {"tab": "Attention map", "layer": "1", "head": "1", "step": "2"}),
    "ablation": ("pages/causes.py", {"causes_view": "One prompt", "ablate_count": "2", "ablation": "0123456789ab"}),
    "ablation over prompts": ("pages/causes.py", {"ablate_set_count": "2", "ablate_set_targets": "sinks"}),
    "random weights": ("pages/explore.py", {"tab": "Dynamics", "random_reference": "true"}),
    "noised text": ("pages/explore.py", {"tab": "Dynamics", "dynamics_view": "Noised against real"}),
    "many prompts": ("pages/evidence.py", {}),
    "accuracy": ("pages/runs.py", {"runs_view": "Accuracy", "accuracy_base": "control"}),
    "sweep": ("pages/sweep.py", {"sweep_seeds": "0-7", "sweep_limit": "9", "sweep": "0123456789ab"}),
    "runs": ("pages/runs.py", {"run": "0123456789ab", "runs_words": "sink"}),
    "pruned models": (
        "pages/runs.py",
        {"runs_view": "Masks", "masks_view": "Attention to sinks", "pruned_recordings": "true"},
    ),
}
OFFERS = {"map": ("ask_attention_map_", "attention_map", 1)}


def started() -> set[str]:
    """Jobs that were run, or are to be; not those that the store answered."""
    return {job.id for job in engine().jobs() if not job.cached}


@pytest.mark.parametrize("name", [name for name in ADDRESSES if name not in OFFERS])
def test_following_a_link_starts_nothing(recording, folders, name):
    page, query = ADDRESSES[name]
    query = {**query, "recording": recording.id}
    if "masks_view" in query:
        query |= {"first": folders[0], "second": folders[1]}
    before = started()
    test = app(page, **query)
    test.run()
    assert not test.exception
    assert started() == before


@pytest.mark.parametrize("name", OFFERS)
def test_what_a_link_shows_runs_when_its_button_is_pressed(recording, name):
    page, query = ADDRESSES[name]
    key, kind, count = OFFERS[name]
    before = started()
    test = app(page, **{**query, "recording": recording.id})
    assert started() == before, "following the link starts nothing"
    test.button(key=key).click().run()
    assert not test.exception
    new = [job for job in engine().jobs(kind) if job.id not in before]
    assert len(new) == count
    assert all(engine().wait(job.id, 300).state == "done" for job in new)
    before = started()
    again = app(page, **{**query, "recording": recording.id})  # its answer is stored: a link shows it
    assert not any(button.key == key for button in again.button)
    assert started() == before


@pytest.mark.parametrize("tab", ["Dynamics", "Attention map", "Logit lens", "Geometry", "Massive activations"])
def test_opening_a_tab_starts_nothing_even_of_a_model_that_was_run_by_hand(recording, tab):
    test = app("pages/explore.py", recording=recording.id)
    test.session_state["models_run_by_hand"] = {"bundled"}
    before = started()
    test.segmented_control(key="tab").set_value(tab).run()
    assert not test.exception and started() == before


def test_statistics_are_stored_when_asked_by_hand_and_found_by_a_link():
    query = {"prune_samples": "2", "prune_seq_len": "16", "calibrate_heldout": "1", "prune_step_interval": "25"}
    test = app("pages/prune.py", **query)
    test.button(key="tuning_calibrate").click().run()
    job = engine().jobs("calibrate")[0]
    running = app("pages/prune.py", **query)  # while it runs, a link follows it
    assert len(engine().jobs("calibrate")) == 1
    assert engine().wait(job.id, 300).state == "done", engine().job(job.id).reason
    assert "one pass of the dense model" not in texts(running.run())
    assert not engine().jobs("seed_floor"), "a link follows, and asks nothing of its own"
    for _ in range(2):  # drawn; and as the browser, which has drawn it, comes back
        test.run()
    parts = [engine().wait(engine().jobs(part)[0].id, 300) for part in ("seed_floor", "heldout")]
    assert [job.state for job in parts] == ["done", "done"]
    assert "one pass of the dense model" not in texts(app("pages/prune.py", **query))
    assert len(engine().jobs("calibrate")) == 1
