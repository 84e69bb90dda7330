"""A device beside the CPU where there is no GPU: `pretend`, whose tensors are computed by the CPU.

What a GPU refuses is refused here as well: operands of two devices in one operation, and `numpy`
of what is not on the CPU. Run as a module, this takes a JSON list of command lines from its input
and prints what they wrote as another: a process of its own, since torch keeps a device once named.
"""

import json
import sys
from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "pretend"
aten = torch.ops.aten
BETWEEN = (aten._to_copy.default, aten.copy_.default)
# A GPU takes indices from the CPU.
INDEXED = (
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
)


class Elsewhere(torch.Tensor):
    """A tensor of the pretended device, around one of the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held):
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, layout=held.layout, device=torch.device(NAME, 0),
        )  # fmt: skip
        made.held = held
        return made

    def tolist(self):
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return computed(operation, args, kwargs or {})


def computed(operation, args, kwargs):
    """By the CPU, from tensors of one device to tensors of the same, or of the one asked for."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, Elsewhere)]
    if there and operation not in BETWEEN:
        refuse_two_devices(operation, args, tensors)
    to = bool(there)
    if kwargs.get("device") is not None:
        to = is_pretended(kwargs["device"])
    elif operation is aten.copy_.default:
        to = isinstance(args[0], Elsewhere)
    if not there and not to:
        return operation(*args, **kwargs)
    on_cpu = {"device": torch.device("cpu")} if "device" in kwargs else {}
    found = operation(*tree_map(held, args), **tree_map(held, kwargs) | on_cpu)
    known = {id(tensor.held): tensor for tensor in there}  # what is changed in place stays itself

    def placed(leaf):
        if not isinstance(leaf, torch.Tensor) or not to:
            return leaf.clone() if operation is aten._to_copy.default else leaf
        return known.get(id(leaf)) if id(leaf) in known else Elsewhere(leaf)

    return tree_map(placed, found)


def refuse_two_devices(operation, args, tensors):
    if operation in INDEXED:  # what is indexed, and what is put there
        tensors = [leaf for leaf in (args[0], *args[2:3]) if isinstance(leaf, torch.Tensor)]
    elsewhere = any(isinstance(tensor, Elsewhere) for tensor in tensors)
    if elsewhere and any(tensor.ndim and not isinstance(tensor, Elsewhere) for tensor in tensors):
        raise RuntimeError(f"{operation}: expected all tensors to be on the same device")


def held(leaf):
    return leaf.held if isinstance(leaf, Elsewhere) else leaf


def is_pretended(device):
    return torch.device(device).type == NAME


class Dispatched(TorchDispatchMode):
    """Tensors that are made on the device, or brought there."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return computed(operation, args, kwargs or {})


class Built(TorchFunctionMode):
    """Tensors from lists and arrays, which torch fills out of reach of `Dispatched`."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        device = kwargs.get("device")
        if function in (torch.tensor, torch.as_tensor) and device and is_pretended(device):
            del kwargs["device"]
            return function(*args, **kwargs).to(device)
        return function(*args, **kwargs)


@contextmanager
def pretended():
    """The device is there."""
    backend_registration._setup_privateuseone_for_python_backend(NAME)
    # What torch itself makes there: the indices of a list, and copies of them.
    library = torch.library.Library("aten", "IMPL")
    library.impl("empty_strided", _empty_strided, "PrivateUse1")
    library.impl("_copy_from", _copy_from, "PrivateUse1")
    with Built(), Dispatched():
        yield


def _empty_strided(size, stride, *, dtype=None, layout=None, device=None, pin_memory=None):
    return Elsewhere(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source, target, non_blocking=False):
    held(target).copy_(held(source))
    return target


def main():
    from tests.conftest import call

    with pretended():
        results = [call(*line, "--device", NAME) for line in json.load(sys.stdin)]
    print(json.dumps([{"stdout": one.stdout, "stderr": one.stderr} for one in results]))


if __name__ == "__main__":
    main()
