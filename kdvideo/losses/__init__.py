"""Distillation losses: one method, one file, with the function on tensors and the object on two `Output`s."""

from kdvideo.losses.base import Given, Loss
from kdvideo.losses.ctkd import CTKD, ctkd
from kdvideo.losses.dist import DIST, dist
from kdvideo.losses.dkd import DKD, dkd
from kdvideo.losses.feature_mse import FeatureMSE, feature_mse
from kdvideo.losses.logit_mse import LogitMSE, logit_mse
from kdvideo.losses.mlkd import MLKD, mlkd
from kdvideo.losses.nkd import NKD, nkd
from kdvideo.losses.ofa import OFA, ofa
from kdvideo.losses.soft_target import SoftTarget, soft_target
from kdvideo.losses.standardized import Standardized, standardize
from kdvideo.losses.ttm import TTM, ttm
from kdvideo.losses.wsld import WSLD, wsld
from kdvideo.losses.wttm import WTTM, wttm

__all__ = [
    "CTKD",
    "DIST",
    "DKD",
    "MLKD",
    "NKD",
    "OFA",
    "TTM",
    "WSLD",
    "WTTM",
    "FeatureMSE",
    "Given",
    "LogitMSE",
    "Loss",
    "SoftTarget",
    "Standardized",
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
