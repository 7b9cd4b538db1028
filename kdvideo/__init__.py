"""Knowledge distillation for PyTorch in which teacher and student may see different inputs.

A name is imported when it is first used, so that `import kdvideo as kd` costs nothing. All names need torch, einops and
safetensors only, but for `kd.models`, `kd.flow`, `kd.data`, `kd.detection`, `kd.training` and `kd.extraction`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what editors and type checkers read; `__getattr__` does the same at run time
    from kdvideo import (  # noqa: F401
        cache,
        data,
        detection,
        ensemble,
        extraction,
        flow,
        functional,
        losses,
        models,
        projectors,
        schedules,
        training,
    )
    from kdvideo._describe import describe
    from kdvideo.cache import TeacherCache
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

if TYPE_CHECKING:
    __version__: str

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

_IN_MODULE = {
    "CaptureError": "features",
    "EMATeacher": "ema",
    "FeatureExtractor": "features",
    "Output": "features",
    "Student": "student",
    "Teacher": "teacher",
    "TeacherCache": "cache",
    "check_optimizer": "student",
    "describe": "_describe",
}
_MODULES = (
    "cache",
    "data",
    "detection",
    "ensemble",
    "extraction",
    "flow",
    "functional",
    "losses",
    "models",
    "projectors",
    "schedules",
    "training",
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in (*__all__, *_MODULES):
        raise AttributeError(f"module 'kdvideo' has no attribute {name!r}")
    if name in _MODULES:
        return import_module(f"kdvideo.{name}")
    value = getattr(import_module(f"kdvideo.{_IN_MODULE.get(name, 'losses')}"), name)
    globals()[name] = value
    return value


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("kdvideo")
    except PackageNotFoundError:  # a folder on the path that is not installed
        return "unknown"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES, "__version__"})
