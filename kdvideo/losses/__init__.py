"""Distillation losses: one method, one file, with the function on tensors and the object on two `Output`s."""

from kdvideo.losses.attention_map import AttentionKL, AttentionMSE, attention_kl, attention_mse
from kdvideo.losses.attention_transfer import AttentionTransfer, attention_transfer
from kdvideo.losses.base import Given, Loss
from kdvideo.losses.correlation_congruence import CorrelationCongruence, correlation_congruence
from kdvideo.losses.ctkd import CTKD, ctkd
from kdvideo.losses.cwd import CWD, cwd
from kdvideo.losses.dist import DIST, dist
from kdvideo.losses.dkd import DKD, dkd
from kdvideo.losses.feature_cosine import FeatureCosine, feature_cosine
from kdvideo.losses.feature_mse import FeatureMSE, feature_mse
from kdvideo.losses.foundation_feature import FoundationFeature, foundation_feature
from kdvideo.losses.fsp import FSP, fsp
from kdvideo.losses.ickd import ICKD, ickd
from kdvideo.losses.logit_mse import LogitMSE, logit_mse
from kdvideo.losses.mlkd import MLKD, mlkd
from kdvideo.losses.nkd import NKD, nkd
from kdvideo.losses.nst import NST, nst
from kdvideo.losses.ofa import OFA, ofa
from kdvideo.losses.phi_s import PHIS
from kdvideo.losses.pkd import PKD, pkd
from kdvideo.losses.pkt import PKT, pkt
from kdvideo.losses.rkd import RKDAngle, RKDDistance, rkd_angle, rkd_distance
from kdvideo.losses.similarity_preserving import SimilarityPreserving, similarity_preserving
from kdvideo.losses.soft_target import SoftTarget, soft_target
from kdvideo.losses.standardized import Standardized, standardize
from kdvideo.losses.ttm import TTM, ttm
from kdvideo.losses.value_relation import ValueRelation, value_relation
from kdvideo.losses.wsld import WSLD, wsld
from kdvideo.losses.wttm import WTTM, wttm

__all__ = [
    "CTKD",
    "CWD",
    "DIST",
    "DKD",
    "FSP",
    "ICKD",
    "MLKD",
    "NKD",
    "NST",
    "OFA",
    "PHIS",
    "PKD",
    "PKT",
    "TTM",
    "WSLD",
    "WTTM",
    "AttentionKL",
    "AttentionMSE",
    "AttentionTransfer",
    "CorrelationCongruence",
    "FeatureCosine",
    "FeatureMSE",
    "FoundationFeature",
    "Given",
    "LogitMSE",
    "Loss",
    "RKDAngle",
    "RKDDistance",
    "SimilarityPreserving",
    "SoftTarget",
    "Standardized",
    "ValueRelation",
    "attention_kl",
    "attention_mse",
    "attention_transfer",
    "correlation_congruence",
    "ctkd",
    "cwd",
    "dist",
    "dkd",
    "feature_cosine",
    "feature_mse",
    "foundation_feature",
    "fsp",
    "ickd",
    "logit_mse",
    "mlkd",
    "nkd",
    "nst",
    "ofa",
    "pkd",
    "pkt",
    "rkd_angle",
    "rkd_distance",
    "similarity_preserving",
    "soft_target",
    "standardize",
    "ttm",
    "value_relation",
    "wsld",
    "wttm",
]
