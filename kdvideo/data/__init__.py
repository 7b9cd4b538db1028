"""Video clips: reading files, manifests of data sets, and paired RGB and flow views.

`kdvideo.data.synthetic`, which writes a data set of its own, is imported by name.
"""

from kdvideo.data.errors import ClipError
from kdvideo.data.folders import from_folder, split_by_group
from kdvideo.data.lists import from_csv
from kdvideo.data.manifest import ManifestError
from kdvideo.data.official import from_hmdb51, from_kinetics, from_ucf101
from kdvideo.data.paired import PairedClips
from kdvideo.data.reading import ClipInfo, probe, read_frames
from kdvideo.data.trees import hmdb51, hmdb51_group, shared_groups, ucf101, ucf101_group
from kdvideo.data.views import MultiView, ViewProtocol, Window, mean_softmax, multi_crop, single_pass, whole_video

__all__ = [
    "ClipError",
    "ClipInfo",
    "ManifestError",
    "MultiView",
    "PairedClips",
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
