"""Which operations in a module's forward mean the same in 3-D, and what takes the place of those that do not."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from . import layers

# The same on (B, C, H, W), (B, C, T, H, W) and (B, C).
SAME = {
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.neg, operator.iadd, operator.imul),
    *(torch.add, torch.sub, torch.mul, torch.div, torch.relu, torch.sigmoid, torch.tanh, torch.clamp),
    *(F.relu, F.relu6, F.silu, F.gelu, F.elu, F.leaky_relu, F.mish, F.hardswish, F.hardsigmoid, F.hardtanh),
    *(F.sigmoid, F.tanh, F.softplus),
    *("add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_", "neg", "relu", "relu_", "sigmoid", "sigmoid_"),
    *("tanh", "tanh_", "clamp", "clamp_", "contiguous"),
}
POOLS: dict[Any, Callable[..., Tensor]] = {
    F.avg_pool2d: layers.avg_pool,
    F.max_pool2d: layers.max_pool,
    torch.max_pool2d: layers.max_pool,
    F.adaptive_avg_pool2d: layers.adaptive_avg_pool,
    F.adaptive_max_pool2d: layers.adaptive_max_pool,
}
OVER_SPACE = {torch.mean, torch.amax, "mean", "amax"}
# What works along one axis -> where that axis stands among the arguments.
ALONG_CHANNELS: dict[Any, int] = {
    **dict.fromkeys((torch.cat, torch.softmax, F.softmax, "softmax"), 1),
    **dict.fromkeys((torch.chunk, torch.split, "chunk", "split"), 2),
}


class OneModule(fx.Tracer):
    """Traces the forward of one module, called on its first argument; its children are not looked into."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        return root_fn, [self.root, self.create_proxy("placeholder", "input", (), {})]


def with_3d_forward(module: nn.Module) -> fx.GraphModule:
    """``module`` with its own forward, in which each operation was checked and, where it is spatial, replaced.

    Raises:
        ValueError: an operation is not known in 3-D, or training takes another path.
    """
    graphs, mode, children = [], module.training, set(module._modules)
    for training in (False, True):
        module.training = training
        graph = OneModule().trace(module)
        for node in graph.nodes:
            if not _make_3d(node, module):
                raise ValueError(f"its forward does {_shown(node)}, which is not known in 3-D")
        graphs.append(graph)
    if str(graphs[0]) != str(graphs[1]):
        raise ValueError("its forward takes another path in training")
    module.training = mode
    for name in set(module._modules) - children:
        module.get_submodule(name).training = mode
    return fx.GraphModule(module, graphs[0], class_name=type(module).__name__)


def _make_3d(node: fx.Node, module: nn.Module) -> bool:
    """Make one node right in 3-D; False where that is not known."""
    operation: Any = node.target
    if node.op == "call_module":
        return len(node.args) == 1 and not node.kwargs
    if node.op == "get_attr":
        return getattr(operator.attrgetter(operation)(module), "ndim", None) == 0
    if node.op in ("placeholder", "output") or operation in SAME:
        return True
    if operation in POOLS:
        node.target = POOLS[operation]
        return True
    if operation in OVER_SPACE:
        return _add_time(node)
    if operation in ALONG_CHANNELS:
        return bool(_argument(node, ALONG_CHANNELS[operation], "dim") == 1)
    if operation in (torch.flatten, "flatten"):
        return (_argument(node, 1, "start_dim"), _argument(node, 2, "end_dim")) in ((1, None), (1, -1))
    if operation is operator.getitem:
        return _slices_channels(node.args[1])
    return operation is F.dropout and _make_dropout(node, module)


def _argument(node: fx.Node, position: int, name: str) -> Any:
    return node.args[position] if len(node.args) > position else node.kwargs.get(name)


def _add_time(node: fx.Node) -> bool:
    """A mean or maximum over (H, W) becomes one over (T, H, W)."""
    axes = _argument(node, 1, "dim")
    if not isinstance(axes, (tuple, list)) or sorted(axes) not in ([2, 3], [-2, -1]):
        return False
    if "dim" in node.kwargs:
        node.update_kwarg("dim", (2, 3, 4))
    else:
        node.update_arg(1, (2, 3, 4))
    return True


def _slices_channels(index: Any) -> bool:
    """Whether an index leaves space alone: x[i], x[:, a:b], x[:, a:b, :, :]."""
    if isinstance(index, int):
        return True
    rest = index[2:] if isinstance(index, tuple) else (index,)
    return all(isinstance(i, slice) for i in index) and all(i == slice(None) for i in rest)


def _make_dropout(node: fx.Node, module: nn.Module) -> bool:
    """A dropout that asks ``self.training`` becomes a module, as tracing would make it a constant."""
    if _argument(node, 2, "training") is not module.training:
        return False
    path = f"functional_{node.name}"
    module.add_module(path, nn.Dropout(_argument(node, 1, "p")))
    node.op, node.target, node.args, node.kwargs = "call_module", path, (node.args[0],), {}
    return True


def _shown(node: fx.Node) -> str:
    name = getattr(node.target, "__name__", node.target)
    arguments = [*map(str, node.args), *(f"{key}={value}" for key, value in node.kwargs.items())]
    return f"{node.op.removeprefix('call_')} {name}({', '.join(arguments)})"
