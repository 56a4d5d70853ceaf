"""A pretended CUDA device, so that what runs on CUDA runs, with its real numbers, where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

CUDA = torch.device("cuda")
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
    return device is not None and torch.device(device).type in ("cuda", "meta")


def _carry_out(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation: refused where CUDA would refuse it, else done on the CPU."""
    name = str(func)
    tensors = [item for item in tree_flatten((args, kwargs))[0] if isinstance(item, Tensor)]
    pretended = [item for item in tensors if isinstance(item, Pretended)]
    elsewhere = [item for item in tensors if not isinstance(item, Pretended)]
    if pretended and elsewhere and name not in CROSSING:
        allowed = (
            elsewhere if name in WITH_CPU_INDICES and isinstance(args[0], Pretended) else [x for x in elsewhere if x.dim() == 0 and name not in UNLESS_A_SCALAR]
        )
        if len(allowed) < len(elsewhere):
            raise RuntimeError(f"{name}: expected all tensors to be on the same device, but found cuda and cpu")
    to_cuda = _is_cuda(kwargs["device"]) if kwargs.get("device") is not None else bool(pretended)
    originals = {id(item.inner): item for item in pretended}
    args, kwargs = tree_map_only(Pretended, lambda item: item.inner, (args, kwargs))
    if kwargs.get("device") is not None:
        kwargs["device"] = torch.device("cpu")
    result = func(*args, **kwargs)
    return tree_map_only(Tensor, lambda item: originals[id(item)] if id(item) in originals else Pretended(item) if to_cuda else item, result)


class _Dispatch(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; what would see to that takes seconds to import."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _carry_out(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """What would look for a CUDA driver before it is dispatched: moves and new tensors; and what CUDA tensors refuse or copy."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        first = args[0] if args else None
        if func is torch.Tensor.numpy and isinstance(first, Pretended):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.")
        if func is torch.Tensor.tolist and isinstance(first, Pretended):
            return first.inner.tolist()
        if func is torch.Tensor.cpu:
            return first.inner.clone() if isinstance(first, Pretended) else first
        if func is torch.Tensor.to:
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
        if _is_cuda(kwargs.get("device")) and not any(isinstance(item, Pretended) for item in tree_flatten(args)[0]):
            kwargs["device"] = "cpu"
            return Pretended(func(*args, **kwargs))
        return func(*args, **kwargs)


@pytest.fixture
def pretend_cuda() -> Iterator[Callable[[Tensor], Tensor]]:
    """While it lasts `device="cuda"` works, on the CPU, and mixing devices does not. The value puts a CPU tensor there."""
    with _Functions(), _Dispatch():
        yield lambda tensor: tensor.to("cuda")
