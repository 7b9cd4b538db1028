"""Whole data sets, clip by clip, resumable, on several processes and machines: optical flow, and small videos.

The commands are `kdvideo extract VIDEOS OUT` and `kdvideo prepare VIDEOS OUT`.
"""

from kdvideo.extraction.clip_list import clips_of
from kdvideo.extraction.extracting import extract
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
    "prepare",
    "verify",
]
