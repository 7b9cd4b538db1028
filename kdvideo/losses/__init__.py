"""Distillation losses: one method, one file, with the function on tensors and the object on two `Output`s."""

from kdvideo.losses.attention_map import AttentionKL, AttentionMSE, attention_kl, attention_mse
from kdvideo.losses.attention_transfer import AttentionTransfer, attention_transfer
from kdvideo.losses.base import Given, Loss
from kdvideo.losses.correlation_congruence import CorrelationCongruence, correlation_congruence
from kdvideo.losses.cwd import CWD, cwd
from kdvideo.losses.feature_cosine import FeatureCosine, feature_cosine
from kdvideo.losses.feature_mse import FeatureMSE, feature_mse
from kdvideo.losses.foundation_feature import FoundationFeature, foundation_feature
from kdvideo.losses.fsp import FSP, fsp
from kdvideo.losses.ickd import ICKD, ickd
from kdvideo.losses.logit_mse import LogitMSE, logit_mse
from kdvideo.losses.nst import NST, nst
from kdvideo.losses.phi_s import PHIS
from kdvideo.losses.pkd import PKD, pkd
from kdvideo.losses.pkt import PKT, pkt
from kdvideo.losses.rkd import RKDAngle, RKDDistance, rkd_angle, rkd_distance
from kdvideo.losses.similarity_preserving import SimilarityPreserving, similarity_preserving
from kdvideo.losses.soft_target import SoftTarget, soft_target
from kdvideo.losses.value_relation import ValueRelation, value_relation

__all__ = [
    "CWD",
    "FSP",
    "ICKD",
    "NST",
    "PHIS",
    "PKD",
    "PKT",
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
    "ValueRelation",
    "attention_kl",
    "attention_mse",
    "attention_transfer",
    "correlation_congruence",
    "cwd",
    "feature_cosine",
    "feature_mse",
    "foundation_feature",
    "fsp",
    "ickd",
    "logit_mse",
    "nst",
    "pkd",
    "pkt",
    "rkd_angle",
    "rkd_distance",
    "similarity_preserving",
    "soft_target",
    "value_relation",
]
