"""Whole data sets, clip by clip, resumable, on several processes and machines: optical flow, and small videos.

The commands are `kdvideo extract VIDEOS OUT` and `kdvideo prepare VIDEOS OUT`.
"""

from kdvideo._extras import check_installed

check_installed("kdvideo.extraction", "av")

from kdvideo.extraction.clip_list import clips_of
from kdvideo.extraction.extracting import extract
from kdvideo.extraction.preparing import prepare
from kdvideo.extraction.result import ExtractionResult, JobResult
from kdvideo.extraction.verifying import Problem, verify
from kdvideo.extraction.workers import ExtractionError

__all__ = ["ExtractionError", "ExtractionResult", "JobResult", "Problem", "clips_of", "extract", "prepare", "verify"]
