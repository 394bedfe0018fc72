"""Small things several tests need: tiny checkpoints, a silent job context, the real server as a process."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from analysis.job_context import SilentContext
from cache.stores import Stores

if TYPE_CHECKING:
    from analysis.pruned.report_file import PrunedRun

Value = TypeVar("Value")

ROOT = Path(__file__).parent.parent
TINY = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "eos_token_id": 3,
    "bos_token_id": 2,
    "pad_token_id": 0,
}


def there(value: Value | None) -> Value:
    """What a test takes to be there. Raises AssertionError where it is not."""
    assert value is not None
    return value


class QuietContext(SilentContext):
    """A job context that keeps what it is told. home: where its stores lie; in `folder`, where none is given."""

    def __init__(self, folder: Path, home: Path | None = None) -> None:
        super().__init__(folder, Stores(home or folder / "home"))
        self.said: list[tuple[str, int, int, dict[str, Any]]] = []
        self.logged: list[str] = []
        self.stop = False

    def progress(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        self.said.append((phase, done, total, details))

    def log(self, text: str) -> None:
        self.logged.append(text)

    @property
    def stopping(self) -> bool:
        return self.stop


def fresh_context(out: Path) -> QuietContext:
    """A context with a scratch folder of its own, beside the folder that is written, so that no run reads another's."""
    folder = out.with_name(f"{out.name}-scratch")
    folder.mkdir()
    return QuietContext(folder)


def save_tokenizer(folder: Path, size: int = 64, mask: bool = True) -> None:
    """A word-level tokenizer of `size` words w5, w6, … with the usual special tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[MASK]", "[BOS]", "[EOS]", "[UNK]"]
    words = special + [f"w{index}" for index in range(len(special), size)]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"pad_token": "[PAD]", "bos_token": "[BOS]", "eos_token": "[EOS]", "unk_token": "[UNK]"}
    if mask:
        names["mask_token"] = "[MASK]"
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)


def save_tiny(folder: Path, kind: type, config: type, *, tokenizer: bool = True, seed: int = 0, **changes: Any) -> Path:
    """A tiny random checkpoint of a transformers class, saved the usual way."""
    import torch

    torch.manual_seed(seed)
    kind(config(**{**TINY, **changes})).save_pretrained(folder)
    if tokenizer:
        save_tokenizer(folder)
    return folder


def tiny_llada(folder: Path, seed: int, layers: int = 2) -> str:
    """A very small random model in LLaDA's format that reads the bundled text; returns its folder."""
    import torch

    from analysis.models.checkpoint import find
    from analysis.models.load import register
    from analysis.models.native_code import LLaDAConfig, LLaDAModelLM
    from analysis.models.tokenizer import load_tokenizer

    register()  # by which it is saved under the published names
    checkpoint = there(find("bundled"))
    torch.manual_seed(seed)
    sizes = {"d_model": 32, "mlp_hidden_size": 48, "n_heads": 2, "n_kv_heads": 2, "n_layers": layers}
    config = LLaDAConfig(**{**checkpoint.config, **sizes, "initializer_range": 0.2})
    LLaDAModelLM(config).save_pretrained(folder)
    there(load_tokenizer(checkpoint.folder)).save_pretrained(folder)
    return str(folder)


def edit_config(folder: Path, **changes: Any) -> None:
    """Changes fields of a saved config; None removes one."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config.update(changes)
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def server(home: Path, token: str = "none", *options: str, port: int = 0, script: str | Path = "app.py"):
    """The real dashboard as its own process; yields its address. Its output is shown if it does not come up.

    token: the access token it asks for. options: of Streamlit's command line. port: a free one, where none is named.
    script: in the place of the dashboard.
    """
    port = port or free_port()
    log = (home / "server.log").open("w+")
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port)]
    process = subprocess.Popen(
        [*command, *options],
        cwd=ROOT,
        env={**os.environ, "SINKSCOPE_HOME": str(home), "SINKSCOPE_TOKEN": token},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        deadline = time.monotonic() + 300
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"The server did not start:\n{log.read()}") from None
                time.sleep(0.1)
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def save_pruned(model: Any, folder: Path, *, mask_file: bool = True, report: dict[str, Any] | None = None) -> Path:
    """Writes a pruned model the way pruning does: checkpoint, packed masks with their shapes, report."""
    from safetensors.torch import load_file

    from analysis.pruned import report_file
    from analysis.pruned.masks_file import MaskWriter

    model.network.save_pretrained(folder)
    if model.tokenizer is not None:
        model.tokenizer.save_pretrained(folder)
    if mask_file:
        weights = load_file(folder / "model.safetensors")
        masks = MaskWriter(folder)
        for name, weight in weights.items():
            if weight.ndim == 2 and (".blocks." in name or ".layers." in name):
                masks.add(name, (weight != 0).numpy())
        masks.save()
    if report is not None:
        report_file.write_report(report, folder)
    return folder


def pruned_run(precision: str = "float32", device: str = "cpu", model: str = "f" * 32, **changes: Any) -> "PrunedRun":
    """What the report of a pruning says that was asked for with these parameters."""
    from analysis.pruned.report_file import SETTINGS, PrunedRun
    from analysis.specs import PruneSpec

    settings = PruneSpec(**changes).model_dump(mode="json", include=set(SETTINGS))
    seed = settings["calibration"].pop("seed")
    return PrunedRun(settings, seed, model, precision, device, {"torch": "2.13.0"})


def write_report(folder: str | Path, run: "PrunedRun") -> None:
    """Writes the part of a pruning's report that says how it was done."""
    from analysis.pruned import report_file

    parameters = {**run.settings, "calibration": {**run.settings["calibration"], "seed": run.seed}}
    model = {"fingerprint": run.model, "dtype": run.precision, "device": run.device}
    report = {"parameters": parameters, "model": model, "environment": {"versions": run.versions}}
    report_file.write_report(report, Path(folder))
