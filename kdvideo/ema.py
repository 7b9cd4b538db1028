"""The moving average of the student as its teacher."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from kdvideo._hints import check_module
from kdvideo._numbers import is_number
from kdvideo._paths import Layers
from kdvideo.features import FeatureExtractor
from kdvideo.teacher import Teacher


class EMATeacher(Teacher):
    """A teacher whose weights are the moving average of the student's, held in a copy.

    θ_teacher ← m θ_teacher + (1 - m) θ_student at every `update`, which belongs after `optimizer.step()`.
    Unlike a `Teacher`, which never changes, it is part of the state_dict of a module that holds it, so that a training
    that continues finds the average again. `release` gives the averaged network.

    Args:
        model: the student: the network, or a `Student`, compiled or DDP module around it. The copy starts equal to it.
        layers: as in `Teacher`.
        momentum: m, 0 to 1, or a schedule of it, such as `schedules.Cosine(0.996, 1.0, steps)`. Mean Teacher uses 0.99
            while the student changes fast, 0.999 later; 0.999 averages over about 1000 steps.
        average_buffers: average floating-point buffers, such as the statistics of BatchNorm, as the parameters are;
            False copies them. Other buffers are always copied.
        options: select, logits, dtype and the others of `Teacher`. Weights in half precision need
            `dtype=torch.float32`: steps of 1 - m would be rounded away.

    Attributes:
        model: the averaged network.
        momentum: as given; it may be set anew between updates.
        average_buffers: as given.

    Raises:
        ValueError: a momentum outside 0 to 1; otherwise as `Teacher`.

    Examples:
        >>> student = nn.Linear(3, 5)
        >>> teacher = EMATeacher(student, momentum=0.9)
        >>> before = student.bias.detach().clone()
        >>> _ = student.bias.data.add_(1.0)  # stands for optimizer.step()
        >>> teacher.update(student)
        >>> torch.allclose(teacher.model.bias, before + 0.1)
        True

    Source:
        Tarvainen, Valpola, "Mean teachers are better role models", 2017, arXiv 1703.01780.
    """

    saved = True

    def __init__(
        self,
        model: nn.Module,
        layers: Layers = (),
        *,
        momentum: float | Callable[[int], float] = 0.999,
        average_buffers: bool = True,
        **options: Any,
    ) -> None:
        check_module(model)
        network = _bare(model)
        # With a dtype the teacher makes a copy by itself.
        super().__init__(network if options.get("dtype") else copy.deepcopy(network), layers, **options)
        if isinstance(momentum, type) or not callable(momentum):
            _check(momentum)  # type: ignore[arg-type]
        self.momentum, self.average_buffers = momentum, average_buffers

    @torch.no_grad()
    def update(self, model: nn.Module, step: int | None = None) -> None:
        """Move the average toward the student by 1 - m.

        Args:
            model: the student as at construction; it may be wrapped in a `Student`, DDP or `torch.compile` since. Under
                FSDP2 a teacher that is sharded alike averages its shards; one that is not gathers the student's.
            step: of the training, where the momentum is a schedule.

        Raises:
            ValueError: parameters or buffers of other names or shapes, averaged parameters in half precision, a
                schedule without a step, or a momentum outside 0 to 1.
        """
        check_module(model)
        weight = 1.0 - self._momentum_at(step)
        student = _bare(model)
        averaged = _pairs(self.model.named_parameters(), student.named_parameters(), "parameters")
        half = sorted({str(ours.dtype) for ours, _ in averaged if ours.is_floating_point() and ours.itemsize < 4})
        if half:
            raise ValueError(
                f"averaged parameters must be float32 or float64, got {half}, where steps of {weight:g} are rounded "
                "away: EMATeacher(..., dtype=torch.float32)"
            )
        for ours, theirs in _pairs(self.model.named_buffers(), student.named_buffers(), "buffers"):
            if self.average_buffers and ours.is_floating_point():
                averaged.append((ours, theirs))
            else:
                ours.copy_(theirs)
        torch._foreach_lerp_([ours for ours, _ in averaged], [theirs for _, theirs in averaged], weight)

    def _momentum_at(self, step: int | None) -> float:
        if not callable(self.momentum):
            return self.momentum
        if step is None:
            raise ValueError(f"the momentum {self.momentum} is a schedule: pass the step, update(student, step)")
        return _check(self.momentum(step))


def _check(momentum: float) -> float:
    advice = f"{momentum.__name__}(...) for a schedule" if isinstance(momentum, type) else "0.999"
    if not is_number(momentum) or not 0.0 <= momentum <= 1.0:
        raise ValueError(f"momentum must be between 0 and 1, got {momentum!r}: {advice}")
    return momentum


def _bare(module: nn.Module) -> nn.Module:
    """Return the network inside wrappers of kdvideo, of data parallelism and of the compiler."""
    while True:
        if isinstance(module, FeatureExtractor):
            module = module.model
        elif isinstance(module, (DistributedDataParallel, DataParallel)):
            module = module.module
        elif "_orig_mod" in module._modules:
            module = module.get_submodule("_orig_mod")
        else:
            return module


def _pairs(
    ours: Iterator[tuple[str, Tensor]], theirs: Iterator[tuple[str, Tensor]], kind: str
) -> list[tuple[Tensor, Tensor]]:
    """Return every tensor of the average beside the student's, in the average's dtype and on its device."""
    # A part that is compiled by itself has this in its names.
    mine, given = ({name.replace("_orig_mod.", ""): tensor for name, tensor in named} for named in (ours, theirs))
    differ = [name for name in {**mine, **given} if name not in mine or name not in given]
    differ += [name for name in mine if name in given and mine[name].shape != given[name].shape]
    if differ:
        shown = ", ".join(differ[:5]) + (", ..." if len(differ) > 5 else "")
        raise ValueError(f"the student must have the {kind} of the average, got a difference in {shown}: pass the same")
    return [_pair(mine[name], given[name]) for name in mine]


def _pair(mine: Any, given: Any) -> tuple[Tensor, Tensor]:
    if hasattr(mine, "to_local"):
        if getattr(given, "placements", None) != mine.placements or given.device_mesh != mine.device_mesh:
            raise ValueError(
                f"a sharded average needs a student sharded alike, got {mine.placements}: shard both alike"
            )
        mine, given = mine.to_local(), given.to_local()
    elif hasattr(given, "full_tensor"):
        given = given.full_tensor()
    return mine, given.to(mine.device, mine.dtype)
