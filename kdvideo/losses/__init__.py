"""Distillation losses: one method, one file, with the function on tensors and the object on two `Output`s."""

from kdvideo.losses.base import Given, Loss
from kdvideo.losses.crd import CRD, crd
from kdvideo.losses.feature_mse import FeatureMSE, feature_mse
from kdvideo.losses.logit_mse import LogitMSE, logit_mse
from kdvideo.losses.mgd import MGD, mgd
from kdvideo.losses.simkd import SimKD, simkd
from kdvideo.losses.soft_target import SoftTarget, soft_target
from kdvideo.losses.vid import VID, vid

__all__ = [
    "CRD",
    "MGD",
    "VID",
    "FeatureMSE",
    "Given",
    "LogitMSE",
    "Loss",
    "SimKD",
    "SoftTarget",
    "crd",
    "feature_mse",
    "logit_mse",
    "mgd",
    "simkd",
    "soft_target",
    "vid",
]
