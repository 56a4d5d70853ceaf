"""No kernel makes a tensor without saying on which device: what is made without one lands on the CPU and fails on CUDA alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "trialsim"
KERNELS = ("simulate.py", "philox.py", "cohort", "twins", "conduct", "analysis")
MAKERS = {
    "zeros",
    "ones",
    "full",
    "empty",
    "arange",
    "tensor",
    "scalar_tensor",
    "eye",
    "linspace",
    "logspace",
    "rand",
    "randn",
    "randint",
    "randperm",
    "from_numpy",
}
ON_THE_CPU = {
    "cohort/fitted": "a cohort is fitted on the CPU; what draws from it is checked",
    "conduct/cuts.py": "cuts are on the CPU",
    "conduct/decisions.py": "decisions are on the CPU",
    "conduct/expectation.py": "planning is on the CPU",
    "conduct/families.py": "decisions are on the CPU",
    "conduct/monitoring.py": "decisions are on the CPU",
    "conduct/trial.py": "cuts and decisions are on the CPU; where patients are, a device is stated",
    "analysis/real_data": "real data are analysed on the CPU",
    "analysis/baseline_in_data.py": "real data are analysed on the CPU",
}
FROM_NUMPY = {"cohort/laws/law.py": 2, "cohort/fitted/margins.py": 3, "twins/events/gamma.py": 2}
"""Laws that are refused on CUDA, and tables that are copied there when they are used; and how often each file takes from NumPy."""
DRAWS = ("cohort/fitted/cohort.py", "cohort/fitted/margins.py")


def kernel_files() -> list[str]:
    files = [path for name in KERNELS for path in ([ROOT / name] if name.endswith(".py") else sorted((ROOT / name).rglob("*.py")))]
    names = [path.relative_to(ROOT).as_posix() for path in files]
    return [name for name in names if name in DRAWS or not any(name == part or name.startswith(f"{part}/") for part in ON_THE_CPU)]


def without_device(source: str) -> list[str]:
    """Where a tensor is made, or taken from NumPy, without a device: `line: call`."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    moved = {id(call.func.value) for call in calls if call.func.attr == "to"}
    made = [call for call in calls if isinstance(call.func.value, ast.Name) and call.func.value.id == "torch" and call.func.attr in MAKERS]
    stated = [call for call in made if id(call) in moved or any(word.arg == "device" for word in call.keywords)]
    return [f"{call.lineno}: {ast.unparse(call)}" for call in made if call not in stated and not _scalar(call)]


def _scalar(call: ast.Call) -> bool:
    """Of no dimension: CUDA takes such a tensor from the CPU."""
    given = call.args[0] if call.args else None
    return isinstance(given, ast.Constant) if call.func.attr == "tensor" else isinstance(given, ast.Tuple) and not given.elts


@pytest.mark.parametrize("name", kernel_files())
def test_every_new_tensor_states_its_device(name):
    found = without_device((ROOT / name).read_text())
    if name in FROM_NUMPY:
        assert len(found) == FROM_NUMPY[name]
        assert all("torch.from_numpy" in call for call in found)
    else:
        assert found == []


def test_the_exceptions_are_there():
    assert all((ROOT / name).exists() for name in (*ON_THE_CPU, *DRAWS))


def test_it_sees_what_it_looks_for():
    source = "a = torch.zeros(3)\nb = torch.zeros(3, device=x.device)\nc = torch.arange(4).to(x.device)\nd = torch.full_like(a, 1.0)\ne = f(torch.tensor([1]), device=3)\ng = torch.zeros(()) + torch.tensor(3)"
    assert without_device(source) == ["1: torch.zeros(3)", "5: torch.tensor([1])"]
