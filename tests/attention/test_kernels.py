"""Attention mass by Triton's kernels: in its interpreter on the CPU they say what the chunked sums say, and they are
asked only for what they serve. On a CUDA device: tests/test_cuda.py."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
import torch

from analysis.attention import AttentionInputs, fused
from tests.helpers import ROOT

without_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="Triton is not installed: a download of 286 MB, which the CUDA builds of PyTorch bring along",
)


@without_triton
def test_the_kernels_say_what_the_chunks_say_for_every_mask_width_and_precision():
    done = subprocess.run(
        [sys.executable, "-m", "tests.attention.interpreted"],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    gaps = json.loads(done.stdout)
    assert len(gaps) == 28
    assert {name: gap for name, (gap, largest) in gaps.items() if not gap < 1e-5 < largest} == {}


def inputs(width: int = 16, dtype: torch.dtype = torch.float32, key_dtype: torch.dtype | None = None):
    return torch.zeros(1, 2, 5, width, dtype=dtype), torch.zeros(1, 1, 5, width, dtype=key_dtype or dtype)


def test_what_the_kernels_do_not_serve_is_summed_in_chunks():
    assert fused.serves(*inputs(), None) and fused.serves(*inputs(256, torch.bfloat16), None)
    assert fused.serves(*inputs(), torch.ones(1, 1, 1, 5, dtype=torch.bool))
    assert not fused.serves(*inputs(257), None)
    assert not fused.serves(*inputs(16, torch.float64), None)
    assert not fused.serves(*inputs(16, torch.bfloat16, torch.float32), None)
    assert not fused.serves(*inputs(), torch.ones(1, 2, 5, 5, dtype=torch.bool)), "a mask for each head"
    assert not fused.serves(*inputs(), torch.ones(1, 1, 5, 5, dtype=torch.long))


def test_on_a_cpu_mass_is_the_chunked_one():
    query, key = inputs()
    assert fused.mass(query, key, None, 0.25, False) is None
    asked = AttentionInputs(query, key, key, None, 0.25, False)
    assert torch.equal(asked.mass(), asked.chunked_mass())


@pytest.mark.parametrize("wrong", [ImportError("no Triton"), RuntimeError("no compiler"), None])
def test_kernels_that_do_not_build_or_compute_something_else_are_not_used(monkeypatch, caplog, wrong):
    def broken(query, key, mask, scaling, causal):
        if wrong is not None:
            raise wrong
        return torch.full(query.shape[:2] + key.shape[2:3], float("nan"))

    monkeypatch.setattr(fused, "find_spec", lambda name: object())
    monkeypatch.setattr(fused, "kernel_mass", broken)
    fused._proved.cache_clear()
    assert not fused._proved(torch.device("cpu"), torch.float32)
    fused._proved.cache_clear()
    assert "summed in chunks" in caplog.text


def test_kernels_that_compute_what_plain_softmax_does_are_used(monkeypatch):
    def chunked(query, key, mask, scaling, causal):
        return AttentionInputs(query, key, key, mask, scaling, causal).chunked_mass()

    monkeypatch.setattr(fused, "find_spec", lambda name: object())
    monkeypatch.setattr(fused, "kernel_mass", chunked)
    fused._proved.cache_clear()
    assert fused._proved(torch.device("cpu"), torch.float32)
    fused._proved.cache_clear()
