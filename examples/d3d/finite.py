"""Steps that are not finite: found before they are taken, named, and left out where that is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

MOST_IN_A_ROW = 10


class FiniteSteps:
    """Judge every step by its loss, over all processes and parts, and by its gradient.

    Args:
        model: whose gradients are looked at; its buffers are put back where a step is left out.
        skip: leave such a step out, instead of raising; more than 10 in a row raise all the same.
    """

    def __init__(self, model: nn.Module, *, skip: bool) -> None:
        self.model, self.skip = model, skip
        self.skipped = self._in_a_row = 0
        self._before: list[Tensor] = []

    def begin(self) -> None:
        """Remember the buffers, which a forward pass changes, before the first part of a step."""
        if self.skip:
            self._before = [buffer.clone() for buffer in self.model.buffers()]

    def judge(self, step: int, values: Mapping[str, float], clips: list[Any]) -> bool:
        """Return whether a step is to be taken, once all its gradients are there.

        Raises:
            FloatingPointError: it is not finite; the message names the terms, the tensors and this process's clips.
        """
        gradients = {name: one.grad for name, one in self.model.named_parameters() if one.grad is not None}
        if torch.isfinite(torch.tensor(sum(values.values()))) and torch.isfinite(get_total_norm(gradients.values())):
            self._in_a_row = 0
            return True
        self._in_a_row += 1
        if not self.skip or self._in_a_row > MOST_IN_A_ROW:
            bad = [name for name, one in gradients.items() if not torch.isfinite(one).all()]
            where = f"; gradients of {', '.join(bad[:3])} and so on ({len(bad)} of {len(gradients)})" if bad else ""
            here = f"; clips of this process: {', '.join(map(str, clips))}" if clips else ""
            advice = "lower the learning rate or check the data, or leave such steps out with --on-not-finite skip"
            raise FloatingPointError(f"losses must be finite, got {dict(values)} at step {step}{where}{here}: {advice}")
        self.skipped += 1
        for buffer, before in zip(self.model.buffers(), self._before, strict=True):
            buffer.copy_(before)
        return False


def global_means(terms: Mapping[str, Tensor], accelerator: Accelerator) -> dict[str, float]:
    """Return the mean over the processes of each term, in one message."""
    values = torch.stack([one.detach().float() for one in terms.values()])
    if accelerator.num_processes > 1:
        values = accelerator.reduce(values, "mean")
    return dict(zip(terms, values.tolist(), strict=True))
