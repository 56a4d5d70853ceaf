"""The device is settled once, when a command is called; what is not there is refused in a line."""

from __future__ import annotations

import json

import pytest
import torch

from trialsim.errors import IncompleteRunError, UsageError
from trialsim.execution import manifest
from trialsim.execution.device import require_device, resolve_device
from trialsim.execution.manifest import Settings, engine_versions
from trialsim.execution.plan import plan_run
from trialsim.execution.replay import replay_trial
from trialsim.execution.run import _on_device, resume_run
from trialsim.execution.tasks import require_engine
from trialsim.spec import load


@pytest.fixture(params=[True, False], ids=["with CUDA", "without"])
def cuda(request, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param)
    return request.param


def test_devices(cuda):
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") == ("cuda" if cuda else "cpu")
    assert resolve_device("cuda", elsewhere=True) == "cuda"
    with pytest.raises(UsageError, match="--device tpu: must be cpu, cuda or auto"):
        resolve_device("tpu")
    if cuda:
        assert resolve_device("cuda") == "cuda"
        require_device("cuda")
    else:
        for refuses in (resolve_device, require_device):
            with pytest.raises(UsageError, match=r"^--device cuda: .+ on \S+; use --device cpu$"):
                refuses("cuda")


def test_a_cluster_is_trusted_to_have_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert _on_device(Settings(executor="ray", address="head:6379"), "cuda").device == "cuda"
    for settings in (Settings(executor="ray"), Settings(executor="local")):
        with pytest.raises(UsageError, match="--device cuda"):
            _on_device(settings, "cuda")
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert _on_device(Settings(executor="ray"), "cuda").device == "cuda"


def test_the_build_of_torch_does_not_count_on_cuda(monkeypatch):
    """The head of a cluster has a torch without CUDA, its GPU machines one with it."""
    monkeypatch.setattr(manifest, "version", lambda name: "2.13.0+cpu" if name == "torch" else "1.0")
    head, head_for_cuda = engine_versions(), engine_versions("cuda")
    monkeypatch.setattr(manifest, "version", lambda name: "2.13.0" if name == "torch" else "1.0")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert head_for_cuda == engine_versions("cuda")
    require_engine(head_for_cuda, "cuda")
    with pytest.raises(IncompleteRunError, match=r"torch 2\.13\.0 \(the run: 2\.13\.0\+cpu\)"):
        require_engine(head, "cpu")


def test_every_command_refuses_what_is_not_there(run_small, small_protocol, quiet, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="--device cuda"):
        run_small("none", device="cuda")
    assert not (tmp_path / "none").exists()
    with pytest.raises(UsageError, match="--device cuda"):
        plan_run(load(small_protocol), only={}, device="cuda")
    path, results = run_small("run")
    assert results["engine"]["device"] == "cpu"
    with pytest.raises(UsageError, match="--device cuda"):
        replay_trial(path, design=None, scenario="base", replicate=3, device="cuda")
    assert replay_trial(path, design=None, scenario="base", replicate=3).same_as_stored is True
    told = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**told, "device": "cuda", "engine": engine_versions("cuda")}))
    for command in (
        lambda: resume_run(path, settings=Settings(workers=1), progress=quiet()),
        lambda: replay_trial(path, design=None, scenario="base", replicate=3),
    ):
        with pytest.raises(UsageError, match="--device cuda"):
            command()
    assert replay_trial(path, design=None, scenario="base", replicate=3, device="cpu").same_as_stored is None
