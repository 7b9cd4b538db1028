"""Every loss as a function of tensors, (student, teacher) in that order."""

from kdvideo.losses.alpha_beta import alpha_beta
from kdvideo.losses.attention_map import attention_kl, attention_mse
from kdvideo.losses.attention_transfer import attention_transfer
from kdvideo.losses.binary_kd import binary_kd
from kdvideo.losses.bounded_regression import bounded_regression
from kdvideo.losses.contrastive_relations import contrastive_relations
from kdvideo.losses.correlation_congruence import correlation_congruence
from kdvideo.losses.crd import crd
from kdvideo.losses.ctkd import ctkd
from kdvideo.losses.cwd import cwd
from kdvideo.losses.dist import dist
from kdvideo.losses.dkd import dkd
from kdvideo.losses.factor_transfer import factor_transfer
from kdvideo.losses.feature_cosine import feature_cosine
from kdvideo.losses.feature_mse import feature_mse
from kdvideo.losses.foundation_feature import foundation_feature
from kdvideo.losses.fsp import fsp
from kdvideo.losses.ickd import ickd
from kdvideo.losses.jensen_shannon import jensen_shannon
from kdvideo.losses.logit_mse import logit_mse
from kdvideo.losses.mgd import mgd
from kdvideo.losses.mlkd import mlkd
from kdvideo.losses.nkd import nkd
from kdvideo.losses.nst import nst
from kdvideo.losses.ofa import ofa
from kdvideo.losses.ofd import ofd
from kdvideo.losses.on_classes import common_classes
from kdvideo.losses.pkd import pkd
from kdvideo.losses.pkt import pkt
from kdvideo.losses.regression import regression
from kdvideo.losses.reverse_kl import reverse_kl
from kdvideo.losses.review_kd import hcl
from kdvideo.losses.rkd import rkd_angle, rkd_distance
from kdvideo.losses.sem_ckd import sem_ckd
from kdvideo.losses.similarity_preserving import similarity_preserving
from kdvideo.losses.simkd import simkd
from kdvideo.losses.skewed_kl import skewed_kl
from kdvideo.losses.skewed_reverse_kl import skewed_reverse_kl
from kdvideo.losses.soft_target import soft_target
from kdvideo.losses.soft_target_chunked import soft_target_chunked
from kdvideo.losses.soft_target_from_hidden import soft_target_from_hidden
from kdvideo.losses.soft_target_top_k import soft_target_top_k, top_k
from kdvideo.losses.srrl import srrl
from kdvideo.losses.standardized import standardize
from kdvideo.losses.total_variation import total_variation
from kdvideo.losses.ttm import ttm
from kdvideo.losses.uniform_teacher import uniform_teacher
from kdvideo.losses.value_relation import value_relation
from kdvideo.losses.vid import vid
from kdvideo.losses.virtual_teacher import virtual_teacher
from kdvideo.losses.wsld import wsld
from kdvideo.losses.wttm import wttm

__all__ = [
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
