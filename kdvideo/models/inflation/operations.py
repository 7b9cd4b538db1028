"""Operations in a module's forward that mean the same in 3-D, and replacements of those that do not."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

Convert = Callable[[nn.Module, str], nn.Module]

# The same on (B, C, H, W), (B, C, T, H, W) and (B, C).
SAME = {
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.neg, operator.iadd, operator.imul),
    *(torch.add, torch.sub, torch.mul, torch.div, torch.relu, torch.sigmoid, torch.tanh, torch.clamp),
    *(F.relu, F.relu6, F.silu, F.gelu, F.elu, F.leaky_relu, F.mish, F.hardswish, F.hardsigmoid, F.hardtanh),
    *(F.sigmoid, F.tanh, F.softplus),
    *("add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_", "neg", "relu", "relu_", "sigmoid", "sigmoid_"),
    *("tanh", "tanh_", "clamp", "clamp_", "contiguous"),
}
# Functions that become modules, with the names of their arguments after the input.
MODULES: dict[Any, tuple[type[nn.Module], tuple[str, ...]]] = {
    F.avg_pool2d: (nn.AvgPool2d, ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")),
    F.max_pool2d: (nn.MaxPool2d, ("kernel_size", "stride", "padding", "dilation", "ceil_mode")),
    F.adaptive_avg_pool2d: (nn.AdaptiveAvgPool2d, ("output_size",)),
    F.adaptive_max_pool2d: (nn.AdaptiveMaxPool2d, ("output_size",)),
    F.dropout: (nn.Dropout, ("p", "training")),
}
OVER_SPACE = {torch.mean, torch.amax, "mean", "amax"}
# What works along one axis -> where that axis stands among the arguments.
ALONG_CHANNELS: dict[Any, int] = {
    **dict.fromkeys((torch.cat, torch.softmax, F.softmax, "softmax"), 1),
    **dict.fromkeys((torch.chunk, torch.split, "chunk", "split"), 2),
}
ANOTHER_PATH = "its forward takes another path in training"


class OneModule(fx.Tracer):
    """A tracer of the forward of one module, called on its first argument; its children are not looked into."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return True: children stay calls."""
        return True

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        """Make one placeholder: default arguments of the forward keep their values."""
        return root_fn, [self.root, self.create_proxy("placeholder", "input", (), {})]


def with_3d_forward(module: nn.Module, convert: Convert) -> fx.GraphModule:
    """Return `module` with its own forward, in which each operation was checked and, where spatial, replaced.

    Args:
        module: one module, whose children are 3-D already.
        convert: makes a 2-D layer 3-D, given the name it gets in the module.

    Raises:
        ValueError: an operation is not known in 3-D, or training takes another path.
    """
    mode, rewriter = module.training, _Rewriter(module, convert)
    graphs = []
    for training in (False, True):
        module.training = training
        graphs.append(rewriter.rewrite(OneModule().trace(module)))
    if str(graphs[0]) != str(graphs[1]):
        raise ValueError(ANOTHER_PATH)
    for name in rewriter.made:
        module.get_submodule(name).training = mode
    return fx.GraphModule(module, graphs[0], class_name=type(module).__name__)


class _Rewriter:
    """Correction of one module's graphs for 3-D; `made` has the modules that took the place of functions."""

    def __init__(self, module: nn.Module, convert: Convert) -> None:
        self.module, self.convert = module, convert
        self.made: dict[str, dict[str, Any]] = {}

    def rewrite(self, graph: fx.Graph) -> fx.Graph:
        for node in graph.nodes:
            if not self._make_3d(node):
                raise ValueError(f"its forward does {_shown(node)}, which is not known in 3-D")
        return graph

    def _make_3d(self, node: fx.Node) -> bool:
        """Correct one node; return False where that is not known."""
        operation: Any = node.target
        if node.op == "call_module":
            return len(node.args) == 1 and not node.kwargs
        if node.op == "get_attr":
            return getattr(operator.attrgetter(operation)(self.module), "ndim", None) == 0
        if node.op in ("placeholder", "output") or operation in SAME:
            return True
        if operation in MODULES:
            return self._make_module(node)
        if operation in OVER_SPACE:
            return _add_time(node)
        if operation in ALONG_CHANNELS:
            return bool(_argument(node, ALONG_CHANNELS[operation], "dim") == 1)
        if operation in (torch.flatten, "flatten"):
            return (_argument(node, 1, "start_dim"), _argument(node, 2, "end_dim")) in ((1, None), (1, -1))
        return operation is operator.getitem and _slices_channels(node.args[1])

    def _make_module(self, node: fx.Node) -> bool:
        """Turn the function of a pool or dropout into a module: it can be inflated, and follows `training`."""
        kind, names = MODULES[node.target]
        if not 1 <= len(node.args) <= len(names) + 1:
            return False
        options = {**dict(zip(names, node.args[1:], strict=False)), **node.kwargs}
        if kind is nn.Dropout and options.pop("training", None) is not self.module.training:
            return False
        path = f"functional_{node.name}"
        if path not in self.made:
            self.module.add_module(path, self.convert(kind(**options), path))
        if self.made.setdefault(path, options) != options:
            raise ValueError(ANOTHER_PATH)
        node.op, node.target, node.args, node.kwargs = "call_module", path, (node.args[0],), {}
        return True


def _argument(node: fx.Node, position: int, name: str) -> Any:
    return node.args[position] if len(node.args) > position else node.kwargs.get(name)


def _add_time(node: fx.Node) -> bool:
    """Turn a mean or maximum over (H, W) into one over (T, H, W)."""
    axes = _argument(node, 1, "dim")
    if not isinstance(axes, (tuple, list)) or sorted(axes) not in ([2, 3], [-2, -1]):
        return False
    if "dim" in node.kwargs:
        node.update_kwarg("dim", (2, 3, 4))
    else:
        node.update_arg(1, (2, 3, 4))
    return True


def _slices_channels(index: Any) -> bool:
    """Return whether an index leaves space alone: x[i], x[:, a:b], x[:, a:b, :, :]."""
    if not isinstance(index, tuple):
        return isinstance(index, int)
    return all(isinstance(i, slice) for i in index) and all(i == slice(None) for i in index[2:])


def _shown(node: fx.Node) -> str:
    name = getattr(node.target, "__name__", node.target)
    arguments = [*map(str, node.args), *(f"{key}={value}" for key, value in node.kwargs.items())]
    return f"{node.op.removeprefix('call_')} {name}({', '.join(arguments)})"
