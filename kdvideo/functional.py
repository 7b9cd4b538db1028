"""Every loss as a function of tensors, (student, teacher) in that order."""

from kdvideo.losses import (
    crd,
    feature_mse,
    logit_mse,
    mgd,
    simkd,
    soft_target,
    vid,
)

__all__ = [
    "crd",
    "feature_mse",
    "logit_mse",
    "mgd",
    "simkd",
    "soft_target",
    "vid",
]
