"""Optical flow of whole data sets into a `kdvideo.flow.FlowStore`: resumable, on several processes and machines.

The command is `python -m kdvideo.flow extract VIDEOS OUT`.
"""

from kdvideo.extraction.job import extract
from kdvideo.extraction.lists import clips_of
from kdvideo.extraction.summary import Summary
from kdvideo.extraction.verifying import Problem, verify
from kdvideo.extraction.workers import ExtractionError

__all__ = ["ExtractionError", "Problem", "Summary", "clips_of", "extract", "verify"]
