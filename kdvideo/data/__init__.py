"""Video clips: reading files, manifests of data sets, and paired RGB and flow views.

`kdvideo.data.synthetic`, which writes a data set of its own, is imported by name.
"""

from kdvideo.data.clips.multi_view import (
    MultiView,
    ViewProtocol,
    mean_softmax,
    multi_crop,
    single_pass,
    whole_video,
)
from kdvideo.data.clips.paired import PairedClips
from kdvideo.data.clips.reader import ClipReader, Segment
from kdvideo.data.clips.sampling import Window
from kdvideo.data.manifests.folders import from_folder, split_by_group
from kdvideo.data.manifests.lists import from_csv
from kdvideo.data.manifests.manifest import ManifestError
from kdvideo.data.manifests.official import from_hmdb51, from_kinetics, from_ucf101
from kdvideo.data.manifests.trees import hmdb51, hmdb51_group, shared_groups, ucf101, ucf101_group
from kdvideo.data.video.errors import ClipError
from kdvideo.data.video.frame_grid import ClipInfo, probe, read_frames

__all__ = [
    "ClipError",
    "ClipInfo",
    "ClipReader",
    "ManifestError",
    "MultiView",
    "PairedClips",
    "Segment",
    "ViewProtocol",
    "Window",
    "from_csv",
    "from_folder",
    "from_hmdb51",
    "from_kinetics",
    "from_ucf101",
    "hmdb51",
    "hmdb51_group",
    "mean_softmax",
    "multi_crop",
    "probe",
    "read_frames",
    "shared_groups",
    "single_pass",
    "split_by_group",
    "ucf101",
    "ucf101_group",
    "whole_video",
]
