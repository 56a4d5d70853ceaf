"""A CUDA device for the tests of this folder: a real one where there is one, and always a pretended one, with real numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
CROSSING = {"aten._to_copy.default", "aten.copy_.default"}
WITH_CPU_INDICES = {"aten.index.Tensor", "aten.index_put_.default", "aten.index_put.default", "aten._index_put_impl_.default"}
UNLESS_A_SCALAR = {"aten.cat.default", "aten.stack.default", "aten.gather.default", "aten.scatter_.src", "aten.index_select.default"}


class Pretended(Tensor):
    """A tensor that says it is on CUDA and is not; its numbers are in `inner`, on the CPU.

    To torch's C++ it is on `meta`, a device for which no driver is looked for.
    """

    inner: Tensor

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return CUDA

    @staticmethod
    def __new__(cls, inner: Tensor) -> Pretended:
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype, device="meta"
        )
        made.inner = inner
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Pretended({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _carry_out(func, args, kwargs or {})


def _is_cuda(device: Any) -> bool:
    return device is not None and (device if isinstance(device, torch.device) else torch.device(device)).type in ("cuda", "meta")


def _carry_out(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation: refused where CUDA would refuse it, else done on the CPU."""
    given = kwargs.get("device")
    tensors: list[Tensor] = []
    args, inner_kwargs = _without_pretence(args, tensors), {name: _without_pretence(item, tensors) for name, item in kwargs.items()}
    pretended = [item for item in tensors if isinstance(item, Pretended)]
    if pretended and len(pretended) < len(tensors) and (name := str(func)) not in CROSSING:
        elsewhere = [item for item in tensors if not isinstance(item, Pretended)]
        if name in WITH_CPU_INDICES and isinstance(tensors[0], Pretended):
            elsewhere = []
        if any(item.dim() or name in UNLESS_A_SCALAR for item in elsewhere):
            raise RuntimeError(f"{name}: expected all tensors to be on the same device, but found cuda and cpu")
    to_cuda = bool(pretended) if given is None else _is_cuda(given)
    if given is not None:
        inner_kwargs["device"] = CPU
    result = func(*args, **inner_kwargs)
    originals = {id(item.inner): item for item in pretended}

    def pretence(item: Any) -> Any:
        if isinstance(item, Tensor):
            return originals[id(item)] if id(item) in originals else Pretended(item) if to_cuda else item
        return type(item)(map(pretence, item)) if isinstance(item, list | tuple) and type(item) in (list, tuple) else item

    return pretence(result)


def _without_pretence(given: Any, found: list[Tensor]) -> Any:
    """The arguments with the numbers in place of pretended tensors; all tensors are noted in `found`."""
    if isinstance(given, Tensor):
        found.append(given)
        return given.inner if isinstance(given, Pretended) else given
    if type(given) in (list, tuple):
        return type(given)([_without_pretence(item, found) for item in given])
    return given


class _Dispatch(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; what would see to that takes seconds to import."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not types and not _is_cuda((kwargs or {}).get("device")):
            return func(*args, **(kwargs or {}))
        return _carry_out(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """What would look for a CUDA driver before it is dispatched: moves and new tensors; and what CUDA tensors refuse or copy."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        first = args[0] if args else None
        if func is torch.Tensor.numpy and isinstance(first, Pretended):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.")
        if func is torch.Tensor.tolist and isinstance(first, Pretended):
            return first.inner.tolist()
        if func is torch.Tensor.cpu:
            return first.inner.clone() if isinstance(first, Pretended) else first
        if func is torch.Tensor.to:
            kwargs = dict(kwargs)
            where = kwargs.pop("device", None)
            rest = list(args[1:])
            for place, given in enumerate(rest):
                if isinstance(given, str | torch.device):
                    where = rest.pop(place)
                    break
            if where is not None:
                held = first.inner if isinstance(first, Pretended) else first
                moved = held.to(*rest, **kwargs) if rest or kwargs else held
                if not _is_cuda(where):
                    return moved if moved is not held or not isinstance(first, Pretended) else held.clone()
                return first if isinstance(first, Pretended) and moved is held else Pretended(moved.clone() if moved is held else moved)
            return func(*args, **kwargs)
        if kwargs.get("device") is not None and _is_cuda(kwargs["device"]) and not isinstance(first, Pretended):
            return Pretended(func(*args, **{**kwargs, "device": "cpu"}))
        return func(*args, **kwargs)


REAL = pytest.param("real", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")])


@pytest.fixture(params=["pretended", REAL])
def cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Tensor], Tensor]]:
    """While it lasts there is a CUDA device: a pretended one, which does on the CPU what CUDA would and refuses what CUDA would; or a real one.

    The value puts a CPU tensor there.
    """
    if request.param == "real":
        yield lambda tensor: tensor.to("cuda")
        return
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with _Functions(), _Dispatch():
        yield lambda tensor: tensor.to("cuda")
