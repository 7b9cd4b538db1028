"""Distillation losses: one method, one file, with the function on tensors and the object on two `Output`s."""

from kdvideo.losses.base import Given, Loss
from kdvideo.losses.crd import CRD, crd
from kdvideo.losses.factor_transfer import FactorTransfer, Paraphraser, factor_transfer
from kdvideo.losses.feature_mse import FeatureMSE, feature_mse
from kdvideo.losses.logit_mse import LogitMSE, logit_mse
from kdvideo.losses.mgd import MGD, mgd
from kdvideo.losses.ofd import OFD, ofd, ofd_margin
from kdvideo.losses.review_kd import ReviewKD, hcl
from kdvideo.losses.sem_ckd import SemCKD, sem_ckd
from kdvideo.losses.simkd import SimKD, simkd
from kdvideo.losses.soft_target import SoftTarget, soft_target
from kdvideo.losses.srrl import SRRL, srrl
from kdvideo.losses.vid import VID, vid

__all__ = [
    "CRD",
    "MGD",
    "OFD",
    "SRRL",
    "VID",
    "FactorTransfer",
    "FeatureMSE",
    "Given",
    "LogitMSE",
    "Loss",
    "Paraphraser",
    "ReviewKD",
    "SemCKD",
    "SimKD",
    "SoftTarget",
    "crd",
    "factor_transfer",
    "feature_mse",
    "hcl",
    "logit_mse",
    "mgd",
    "ofd",
    "ofd_margin",
    "sem_ckd",
    "simkd",
    "soft_target",
    "srrl",
    "vid",
]
