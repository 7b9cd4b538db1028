"""Every network that the paper's tables train, and its close relatives, as settings of one training."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal


@dataclass(frozen=True)
class Method:
    """One training; an equal one, whatever its name, is never done twice.

    The weights of the losses are multiplied into the sum L_action + distill_weight · L_distill + flow_loss_weight ·
    L_flow; the recipe's ``--distill-weight`` scales distill_weight once more.
    """

    name: str
    """The paper's."""
    stream: Literal["rgb", "flow"] = "rgb"
    backbone: Literal["s3dg", "nl_s3dg", "i3d"] = "s3dg"
    teacher: Method | None = None
    """Trained first. With predicted_flow it is no teacher but the start of the temporal network."""
    layer: str = "logits"
    """Where the teacher is imitated: "logits", "pooled" (the averaged features before the classifier), or a layer by
    the paper's name, such as "4C"."""
    distill_weight: float = 1.0
    flow_loss_weight: float = 0.0
    """Of the loss of a flow decoder at 3A."""
    action: bool = True
    """Whether cross-entropy trains all of the network; False: the classifier alone, on features that it leaves as they
    are."""
    predicted_flow: bool = False
    """Flow predicted by the first layers of S3D-G feeds a temporal network; without a teacher the prediction alone."""
    prediction_first: float = 0.25
    """Fraction of the steps in which predicted_flow learns to predict flow before it learns actions (ours)."""
    end_to_end_rate: float = 0.1
    """Learning rate, as a part of the schedule's, with which it then learns actions (ours)."""

    def __post_init__(self) -> None:
        if self.predicted_flow and (self.stream, self.backbone, self.layer) != ("rgb", "s3dg", "logits"):
            raise ValueError(f"{self.name}: flow is predicted from rgb by s3dg, without distillation")
        if self.distills and self.flow_loss_weight:
            raise ValueError(f"{self.name}: a flow loss beside a teacher is not supported")
        if not self.action and not (self.distills and self.layer != "logits"):
            raise ValueError(f"{self.name}: with action=False features need a teacher, at a layer before the logits")

    @property
    def distills(self) -> bool:
        """Whether it imitates its teacher."""
        return self.teacher is not None and not self.predicted_flow

    @property
    def decisive(self) -> dict[str, Any]:
        """What decides the outcome besides the weights of its teacher and the settings of the recipe."""
        elsewhere = ("name", "teacher", "distill_weight")
        found = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in elsewhere}
        return found | {"teacher_stream": self.teacher.stream if self.teacher else None}


# The streams, and D3D with the paper's weight, 1 (Tables 2, 3, 8).
RGB = Method("S3D-G RGB")
FLOW = Method("S3D-G Flow", stream="flow")
D3D = Method("D3D", teacher=FLOW)

# Table 6. The paper gives no weight for layers, for a spatial teacher or for the flow loss. Ours are 1, as for logits,
# and for the flow loss 0.1: it counts squared pixels, so that at 1 it would outweigh the action loss.
CNN_FLOW = Method("S3D-G with 3D CNN flow", teacher=FLOW, predicted_flow=True)
FLOW_LOSS = Method("S3D-G with flow loss", flow_loss_weight=0.1)
D3D_2C = Method("D3D, distilled at 2C", teacher=FLOW, layer="2C")
D3D_4C = Method("D3D, distilled at 4C", teacher=FLOW, layer="4C")
D3D_SPATIAL = Method("D3D, spatial teacher", teacher=RGB)

# Table 7: the teacher is always the S3D-G temporal stream, the weight the paper's. Tables 2 and 3: the I3D streams.
I3D_RGB = Method("I3D RGB", backbone="i3d")
I3D_FLOW = Method("I3D Flow", stream="flow", backbone="i3d")
I3D_D3D = Method("D3D, I3D", backbone="i3d", teacher=FLOW)
NL_RGB = Method("NL S3D-G RGB", backbone="nl_s3dg")
NL_D3D = Method("D3D, NL S3D-G", backbone="nl_s3dg", teacher=FLOW)

# Crasto, Weinzaepfel, Alahari, Schmid: MARS, CVPR 2019. 50 is its weight for MARS; for MERS, whose features learn
# nothing else, we keep it.
MARS = Method("MARS", teacher=FLOW, layer="pooled", distill_weight=50.0)
MERS = Method("MERS", teacher=FLOW, layer="pooled", distill_weight=50.0, action=False)

METHODS = {name: value for name, value in globals().items() if isinstance(value, Method)}

FLOW_PREDICTION = Method("3D CNN flow", predicted_flow=True, flow_loss_weight=1.0)
"""The first part of CNN_FLOW: a network that gives flow and no logits."""


def named(name: str) -> Method:
    """Return the method that a command line names.

    Raises:
        ValueError: there is none; the message lists them.
    """
    if name not in METHODS:
        raise ValueError(f"--method must be one of {', '.join(METHODS)}, got {name!r}")
    return METHODS[name]
