"""Optical flow by the networks of ptlflow, such as SEA-RAFT."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdvideo._hints import check_module, represented
from kdvideo.flow.estimators.by_pairs import NetworkEstimator


class PTLFlowEstimator(NetworkEstimator):
    """A network of ptlflow as a `FlowEstimator`: SEA-RAFT, RAFT, GMFlow, NeuFlow ...

    Args:
        model: for instance `ptlflow.get_model("sea_raft_s", ckpt_path="sintel")`. It is put into evaluation mode;
            clips must be on its device.
        pairs: most pairs that go through the network at a time, for memory.

    Raises:
        ValueError: `model` is no module, or a number out of its range; when called, bad frames as in `tvl1`, or a
            model without "flows".

    Examples:
        >>> class Still(nn.Module):
        ...     def forward(self, inputs):
        ...         return {"flows": inputs["images"][:, :1, :2] * 0}
        >>> PTLFlowEstimator(Still())(torch.zeros(3, 3, 40, 60, dtype=torch.uint8)).shape
        torch.Size([2, 2, 40, 60])

    Source:
        H. Morimitsu, "PyTorch Lightning Optical Flow", Apache-2.0; Y. Wang, L. Lipson, J. Deng, "SEA-RAFT: Simple,
        Efficient, Accurate RAFT for Optical Flow", ECCV 2024, arXiv 2405.14793.
    """

    def __init__(self, model: nn.Module, *, pairs: int = 8) -> None:
        check_module(model)
        # Its settings, such as the number of recurrent updates, are plain attributes and decide the numbers too.
        plain = {name: value for name, value in sorted(vars(model).items()) if _is_setting(name, value)}
        super().__init__(model, pairs, "".join(f"{name}={value!r}, " for name, value in plain.items()))
        self._fingerprint = f"ptlflow.{self._fingerprint}"

    def __repr__(self) -> str:
        return represented(self, model=type(self.model).__name__, pairs=self.pairs)

    def _solve(self, first: Tensor, second: Tensor) -> Tensor:
        images = torch.stack([first, second], 1).flip(2)  # its networks take BGR, as OpenCV reads it
        found = self.model({"images": images})
        if "flows" not in found:
            raise ValueError(f"the model must give 'flows', got {sorted(found)}: take one of ptlflow's for flow")
        flow: Tensor = found["flows"][:, 0]
        return flow


def _is_setting(name: str, value: object) -> bool:
    return not name.startswith("_") and name != "training" and isinstance(value, (bool, int, float, str))
