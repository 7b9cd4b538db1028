"""Knowledge distillation for PyTorch in which teacher and student may see different inputs.

`import kdvideo as kd` loads torch and the distillation half only; `kd.models`, `kd.flow`, `kd.data`, `kd.detection`,
`kd.training` and `kd.extraction` are imported when they are first used.
"""

from importlib import import_module
from types import ModuleType

from kdvideo import cache, functional, projectors, schedules
from kdvideo.cache import TeacherCache
from kdvideo.features import CaptureError, FeatureExtractor, Output, describe
from kdvideo.losses import (
    CRD,
    MGD,
    OFD,
    SRRL,
    VID,
    FactorTransfer,
    FeatureMSE,
    LogitMSE,
    Loss,
    ReviewKD,
    SemCKD,
    SimKD,
    SoftTarget,
)
from kdvideo.student import Student
from kdvideo.teacher import Teacher

__version__ = "0.1.0"

__all__ = [
    "CRD",
    "MGD",
    "OFD",
    "SRRL",
    "VID",
    "CaptureError",
    "FactorTransfer",
    "FeatureExtractor",
    "FeatureMSE",
    "LogitMSE",
    "Loss",
    "Output",
    "ReviewKD",
    "SemCKD",
    "SimKD",
    "SoftTarget",
    "Student",
    "Teacher",
    "TeacherCache",
    "cache",
    "describe",
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
