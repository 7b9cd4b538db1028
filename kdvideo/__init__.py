"""Knowledge distillation for PyTorch in which teacher and student may see different inputs.

`import kdvideo as kd` loads torch and the distillation half only; `kd.models`, `kd.flow`, `kd.data`, `kd.detection`,
`kd.training` and `kd.extraction` are imported when they are first used.
"""

from importlib import import_module
from types import ModuleType

from kdvideo import cache, ensemble, functional, projectors, schedules
from kdvideo.cache import TeacherCache
from kdvideo.describe import describe
from kdvideo.ema import EMATeacher
from kdvideo.features import CaptureError, FeatureExtractor, Output
from kdvideo.losses import (
    CRD,
    CTKD,
    CWD,
    DIST,
    DKD,
    FSP,
    ICKD,
    MGD,
    MLKD,
    NKD,
    NST,
    OFA,
    OFD,
    PHIS,
    PKD,
    PKT,
    SRRL,
    TTM,
    VID,
    WSLD,
    WTTM,
    AlphaBeta,
    AttentionKL,
    AttentionMSE,
    AttentionTransfer,
    BinaryKD,
    BoundedRegression,
    ContrastiveRelations,
    CorrelationCongruence,
    FactorTransfer,
    FeatureCosine,
    FeatureMSE,
    FoundationFeature,
    FromTeacher,
    JensenShannon,
    LogitMSE,
    Loss,
    OnClasses,
    Regression,
    ReverseKL,
    ReviewKD,
    RKDAngle,
    RKDDistance,
    SemCKD,
    SimilarityPreserving,
    SimKD,
    SkewedKL,
    SkewedReverseKL,
    SoftTarget,
    SoftTargetChunked,
    SoftTargetTopK,
    Standardized,
    TopK,
    TotalVariation,
    UniformTeacher,
    ValueRelation,
    VirtualTeacher,
)
from kdvideo.student import Student, check_optimizer
from kdvideo.teacher import Teacher

__version__ = "0.1.0"

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
    "CaptureError",
    "ContrastiveRelations",
    "CorrelationCongruence",
    "EMATeacher",
    "FactorTransfer",
    "FeatureCosine",
    "FeatureExtractor",
    "FeatureMSE",
    "FoundationFeature",
    "FromTeacher",
    "JensenShannon",
    "LogitMSE",
    "Loss",
    "OnClasses",
    "Output",
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
    "Student",
    "Teacher",
    "TeacherCache",
    "TopK",
    "TotalVariation",
    "UniformTeacher",
    "ValueRelation",
    "VirtualTeacher",
    "cache",
    "check_optimizer",
    "describe",
    "ensemble",
    "functional",
    "projectors",
    "schedules",
]

_ON_FIRST_USE = ("data", "detection", "extraction", "flow", "models", "training")


def __getattr__(name: str) -> ModuleType:
    if name in _ON_FIRST_USE:
        return import_module(f"kdvideo.{name}")
    raise AttributeError(f"module 'kdvideo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ON_FIRST_USE])
