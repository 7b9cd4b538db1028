"""Whole data sets, clip by clip, resumable, also on several machines: optical flow, features, and small videos.

The commands are `kdvideo extract`, `kdvideo features` and `kdvideo prepare`, each `VIDEOS OUT`.
"""

from kdvideo._extras import check_installed

check_installed("kdvideo.extraction", "av")

from kdvideo.extraction.clip_list import clips_of
from kdvideo.extraction.extracting import extract
from kdvideo.extraction.feature_job import extract_features
from kdvideo.extraction.job import ExtractionError
from kdvideo.extraction.preparing import prepare
from kdvideo.extraction.processing import Running
from kdvideo.extraction.result import ExtractionResult, JobResult
from kdvideo.extraction.verifying import Problem, verify

__all__ = [
    "ExtractionError",
    "ExtractionResult",
    "JobResult",
    "Problem",
    "Running",
    "clips_of",
    "extract",
    "extract_features",
    "prepare",
    "verify",
]
