"""Distillation losses: one method, one file, with the function on tensors and the object on two `Output`s."""

from kdvideo.losses.alpha_beta import AlphaBeta, alpha_beta
from kdvideo.losses.base import Given, Loss
from kdvideo.losses.binary_kd import BinaryKD, binary_kd
from kdvideo.losses.bounded_regression import BoundedRegression, bounded_regression
from kdvideo.losses.contrastive_relations import ContrastiveRelations, contrastive_relations
from kdvideo.losses.cosine_distance import CosineDistance, cosine_distance
from kdvideo.losses.feature_mse import FeatureMSE, feature_mse
from kdvideo.losses.jensen_shannon import JensenShannon, jensen_shannon
from kdvideo.losses.logit_mse import LogitMSE, logit_mse
from kdvideo.losses.on_classes import OnClasses, common_classes
from kdvideo.losses.regression import Regression, regression
from kdvideo.losses.reverse_kl import ReverseKL, reverse_kl
from kdvideo.losses.skewed_kl import SkewedKL, skewed_kl
from kdvideo.losses.skewed_reverse_kl import SkewedReverseKL, skewed_reverse_kl
from kdvideo.losses.soft_target import SoftTarget, soft_target
from kdvideo.losses.soft_target_chunked import SoftTargetChunked, soft_target_chunked
from kdvideo.losses.soft_target_from_hidden import soft_target_from_hidden
from kdvideo.losses.total_variation import TotalVariation, total_variation
from kdvideo.losses.uniform_teacher import UniformTeacher, uniform_teacher
from kdvideo.losses.virtual_teacher import VirtualTeacher, virtual_teacher

__all__ = [
    "AlphaBeta",
    "BinaryKD",
    "BoundedRegression",
    "ContrastiveRelations",
    "CosineDistance",
    "FeatureMSE",
    "Given",
    "JensenShannon",
    "LogitMSE",
    "Loss",
    "OnClasses",
    "Regression",
    "ReverseKL",
    "SkewedKL",
    "SkewedReverseKL",
    "SoftTarget",
    "SoftTargetChunked",
    "TotalVariation",
    "UniformTeacher",
    "VirtualTeacher",
    "alpha_beta",
    "binary_kd",
    "bounded_regression",
    "common_classes",
    "contrastive_relations",
    "cosine_distance",
    "feature_mse",
    "jensen_shannon",
    "logit_mse",
    "regression",
    "reverse_kl",
    "skewed_kl",
    "skewed_reverse_kl",
    "soft_target",
    "soft_target_chunked",
    "soft_target_from_hidden",
    "total_variation",
    "uniform_teacher",
    "virtual_teacher",
]
