"""Every loss as a function of tensors, (student, teacher) in that order."""

from kdvideo.losses import (
    crd,
    factor_transfer,
    feature_mse,
    hcl,
    logit_mse,
    mgd,
    ofd,
    sem_ckd,
    simkd,
    soft_target,
    srrl,
    vid,
)

__all__ = [
    "crd",
    "factor_transfer",
    "feature_mse",
    "hcl",
    "logit_mse",
    "mgd",
    "ofd",
    "sem_ckd",
    "simkd",
    "soft_target",
    "srrl",
    "vid",
]
