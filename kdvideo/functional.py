"""Every loss as a function of tensors, (student, teacher) in that order."""

from kdvideo.losses import (
    ctkd,
    dist,
    dkd,
    feature_mse,
    logit_mse,
    mlkd,
    nkd,
    ofa,
    soft_target,
    standardize,
    ttm,
    wsld,
    wttm,
)

__all__ = [
    "ctkd",
    "dist",
    "dkd",
    "feature_mse",
    "logit_mse",
    "mlkd",
    "nkd",
    "ofa",
    "soft_target",
    "standardize",
    "ttm",
    "wsld",
    "wttm",
]
