"""Optical flow of whole data sets into a `kdvideo.flow.FlowStore`: resumable, on several processes and machines.

The command is `kdvideo extract VIDEOS OUT`.
"""

from kdvideo.extraction.clip_list import clips_of
from kdvideo.extraction.extracting import extract
from kdvideo.extraction.result import ExtractionResult
from kdvideo.extraction.verifying import Problem, verify
from kdvideo.extraction.workers import ExtractionError

__all__ = ["ExtractionError", "ExtractionResult", "Problem", "clips_of", "extract", "verify"]
