"""The cluster files are valid by Ray's own schema and checks, and agree with the rest of the repository."""

from __future__ import annotations

import copy
import re
import shlex
import warnings
from pathlib import Path

import pytest
import yaml
from jsonschema import ValidationError

ROOT = Path(__file__).resolve().parents[1]
FILES = ("cluster.yaml", "docs/cluster-on-premises.yaml")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ray.autoscaler._private.util import prepare_config, validate_config


def _read(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text())


def _commands(config: dict) -> list[str]:
    found = [*config["setup_commands"], *config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    for node in config.get("available_node_types", {}).values():
        found += node.get("worker_setup_commands", [])
    return found


@pytest.mark.parametrize("name", FILES)
def test_valid_by_rays_schema(name):
    prepared = prepare_config(copy.deepcopy(_read(name)))
    validate_config(prepared)
    assert prepared["idle_timeout_minutes"] == 5


@pytest.mark.parametrize("name", FILES)
def test_the_check_finds_what_is_wrong(name):
    wrong = prepare_config(copy.deepcopy(_read(name))) | {"max_worker": 3}
    with pytest.raises(ValidationError, match="max_worker"):
        validate_config(wrong)


@pytest.mark.parametrize("name", FILES)
def test_installs_this_checkout_by_the_lock_and_leaves_the_rest_here(name):
    config = _read(name)
    ((remote, local),) = config["file_mounts"].items()
    assert (local, (ROOT / "pyproject.toml").is_file()) == (".", True)
    installs = [command for command in _commands(config) if "pip install" in command]
    assert installs
    for command in installs:
        assert f"-c {remote}/requirements.lock" in command
        assert shlex.split(command)[-1].replace("$HOME", "~") == f"{remote}[cluster]"
    assert {".git", ".venv", "runs", ".trialsim-cache"} <= set(config["rsync_exclude"])
    assert "--disable-usage-stats" in " ".join(config["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in " ".join(config["head_start_ray_commands"])


def test_node_types_of_the_cloud():
    config = prepare_config(_read("cluster.yaml"))
    nodes = config["available_node_types"]
    assert config["head_node_type"] == "head"
    assert nodes["head"]["resources"]["CPU"] == 0
    workers = [node for name, node in nodes.items() if name != "head"]
    assert all(node["min_workers"] == 0 < node["max_workers"] for node in workers)
    assert sum(node["max_workers"] for node in workers) == config["max_workers"]
    assert nodes["gpu"]["resources"]["GPU"] == 1
    assert "GPU" not in nodes["cpu"]["resources"]


def test_images_have_the_ray_of_the_lock():
    (ray,) = re.findall(r"^ray==(.+)$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    images = re.findall(r"rayproject/ray:\S+", (ROOT / "cluster.yaml").read_text())
    assert sorted(images) == [f"rayproject/ray:{ray}-py311-{kind}" for kind in ("cpu", "gpu")]


def test_machines_of_your_own_are_all_used():
    config = _read("docs/cluster-on-premises.yaml")
    assert config["min_workers"] == config["max_workers"] == len(config["provider"]["worker_ips"])


def test_the_lock_pins_what_the_extra_needs():
    """Constraints: one `name==version` a line, no extras."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line) for line in lines)
    assert {"aiohttp", "aiohttp-cors", "opencensus", "opentelemetry-sdk", "prometheus_client", "grpcio", "virtualenv"} <= {
        line.split("==")[0] for line in lines
    }
