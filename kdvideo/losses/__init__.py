"""Distillation losses: one method, one file, with the function on tensors and the object on two `Output`s."""

from kdvideo.losses.base import Given, Loss
from kdvideo.losses.feature_mse import FeatureMSE, feature_mse
from kdvideo.losses.logit_mse import LogitMSE, logit_mse
from kdvideo.losses.soft_target import SoftTarget, soft_target

__all__ = ["FeatureMSE", "Given", "LogitMSE", "Loss", "SoftTarget", "feature_mse", "logit_mse", "soft_target"]
