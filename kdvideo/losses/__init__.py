"""Distillation losses: one method, one file, with the function on tensors and the object on two `Output`s."""

from kdvideo.losses._given import Given
from kdvideo.losses.alpha_beta import AlphaBeta, alpha_beta
from kdvideo.losses.attention_map import AttentionKL, AttentionMSE, attention_kl, attention_mse
from kdvideo.losses.attention_transfer import AttentionTransfer, attention_transfer
from kdvideo.losses.base import Loss
from kdvideo.losses.binary_kd import BinaryKD, binary_kd
from kdvideo.losses.bounded_regression import BoundedRegression, bounded_regression
from kdvideo.losses.contrastive_relations import ContrastiveRelations, contrastive_relations
from kdvideo.losses.correlation_congruence import CorrelationCongruence, correlation_congruence
from kdvideo.losses.crd import CRD, crd
from kdvideo.losses.ctkd import CTKD, ctkd
from kdvideo.losses.cwd import CWD, cwd
from kdvideo.losses.dist import DIST, dist
from kdvideo.losses.dkd import DKD, dkd
from kdvideo.losses.factor_transfer import FactorTransfer, Paraphraser, factor_transfer
from kdvideo.losses.feature_cosine import FeatureCosine, feature_cosine
from kdvideo.losses.feature_mse import FeatureMSE, feature_mse
from kdvideo.losses.foundation_feature import FoundationFeature, foundation_feature
from kdvideo.losses.from_teacher import FromTeacher
from kdvideo.losses.fsp import FSP, fsp
from kdvideo.losses.ickd import ICKD, ickd
from kdvideo.losses.jensen_shannon import JensenShannon, jensen_shannon
from kdvideo.losses.logit_mse import LogitMSE, logit_mse
from kdvideo.losses.mgd import MGD, mgd
from kdvideo.losses.mlkd import MLKD, mlkd
from kdvideo.losses.nkd import NKD, nkd
from kdvideo.losses.nst import NST, nst
from kdvideo.losses.ofa import OFA, ofa
from kdvideo.losses.ofd import OFD, ofd, ofd_margin
from kdvideo.losses.on_classes import OnClasses, common_classes
from kdvideo.losses.phi_s import PHIS
from kdvideo.losses.pkd import PKD, pkd
from kdvideo.losses.pkt import PKT, pkt
from kdvideo.losses.regression import Regression, regression
from kdvideo.losses.reverse_kl import ReverseKL, reverse_kl
from kdvideo.losses.review_kd import ReviewKD, hcl
from kdvideo.losses.rkd import RKDAngle, RKDDistance, rkd_angle, rkd_distance
from kdvideo.losses.sem_ckd import SemCKD, sem_ckd
from kdvideo.losses.similarity_preserving import SimilarityPreserving, similarity_preserving
from kdvideo.losses.simkd import SimKD, simkd
from kdvideo.losses.skewed_kl import SkewedKL, skewed_kl
from kdvideo.losses.skewed_reverse_kl import SkewedReverseKL, skewed_reverse_kl
from kdvideo.losses.soft_target import SoftTarget, soft_target
from kdvideo.losses.soft_target_chunked import SoftTargetChunked, soft_target_chunked
from kdvideo.losses.soft_target_from_hidden import soft_target_from_hidden
from kdvideo.losses.soft_target_top_k import SoftTargetTopK, TopK, soft_target_top_k, top_k
from kdvideo.losses.srrl import SRRL, srrl
from kdvideo.losses.standardized import Standardized, standardize
from kdvideo.losses.total_variation import TotalVariation, total_variation
from kdvideo.losses.ttm import TTM, ttm
from kdvideo.losses.uniform_teacher import UniformTeacher, uniform_teacher
from kdvideo.losses.value_relation import ValueRelation, value_relation
from kdvideo.losses.vid import VID, vid
from kdvideo.losses.virtual_teacher import VirtualTeacher, virtual_teacher
from kdvideo.losses.wsld import WSLD, wsld
from kdvideo.losses.wttm import WTTM, wttm

__all__ = [
    "CRD",
    "CTKD",
    "CWD",
    "DIST",
    "DKD",
    "FSP",
    "ICKD",
    "MGD",
    "MLKD",
    "NKD",
    "NST",
    "OFA",
    "OFD",
    "PHIS",
    "PKD",
    "PKT",
    "SRRL",
    "TTM",
    "VID",
    "WSLD",
    "WTTM",
    "AlphaBeta",
    "AttentionKL",
    "AttentionMSE",
    "AttentionTransfer",
    "BinaryKD",
    "BoundedRegression",
    "ContrastiveRelations",
    "CorrelationCongruence",
    "FactorTransfer",
    "FeatureCosine",
    "FeatureMSE",
    "FoundationFeature",
    "FromTeacher",
    "Given",
    "JensenShannon",
    "LogitMSE",
    "Loss",
    "OnClasses",
    "Paraphraser",
    "RKDAngle",
    "RKDDistance",
    "Regression",
    "ReverseKL",
    "ReviewKD",
    "SemCKD",
    "SimKD",
    "SimilarityPreserving",
    "SkewedKL",
    "SkewedReverseKL",
    "SoftTarget",
    "SoftTargetChunked",
    "SoftTargetTopK",
    "Standardized",
    "TopK",
    "TotalVariation",
    "UniformTeacher",
    "ValueRelation",
    "VirtualTeacher",
    "alpha_beta",
    "attention_kl",
    "attention_mse",
    "attention_transfer",
    "binary_kd",
    "bounded_regression",
    "common_classes",
    "contrastive_relations",
    "correlation_congruence",
    "crd",
    "ctkd",
    "cwd",
    "dist",
    "dkd",
    "factor_transfer",
    "feature_cosine",
    "feature_mse",
    "foundation_feature",
    "fsp",
    "hcl",
    "ickd",
    "jensen_shannon",
    "logit_mse",
    "mgd",
    "mlkd",
    "nkd",
    "nst",
    "ofa",
    "ofd",
    "ofd_margin",
    "pkd",
    "pkt",
    "regression",
    "reverse_kl",
    "rkd_angle",
    "rkd_distance",
    "sem_ckd",
    "similarity_preserving",
    "simkd",
    "skewed_kl",
    "skewed_reverse_kl",
    "soft_target",
    "soft_target_chunked",
    "soft_target_from_hidden",
    "soft_target_top_k",
    "srrl",
    "standardize",
    "top_k",
    "total_variation",
    "ttm",
    "uniform_teacher",
    "value_relation",
    "vid",
    "virtual_teacher",
    "wsld",
    "wttm",
]
