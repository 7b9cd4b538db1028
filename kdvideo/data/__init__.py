"""Video clips: reading files, manifests of data sets, and paired RGB and flow views.

`kdvideo.data.synthetic`, which writes data sets of moving shapes, is imported by name.
"""

from kdvideo._extras import check_installed

check_installed("kdvideo.data", "av")

from kdvideo.data.clips.checking import unreadable_clips
from kdvideo.data.clips.floating import to_float
from kdvideo.data.clips.multi_view import (
    MultiView,
    ViewProtocol,
    mean_softmax,
    multi_crop,
    single_pass,
    whole_video,
)
from kdvideo.data.clips.paired import PairedClips
from kdvideo.data.clips.readable import ReadableClips
from kdvideo.data.clips.reader import ClipReader, Segment
from kdvideo.data.clips.sampling import Window
from kdvideo.data.clips.sound import AudioSpectrogram
from kdvideo.data.clips.streams import ArrayStream, ClipSource, FrameDifference, Stream
from kdvideo.data.manifests.csv_lists import from_csv, read_clip_list
from kdvideo.data.manifests.folders import from_folder, split_by_group
from kdvideo.data.manifests.kinetics_lists import from_kinetics_list
from kdvideo.data.manifests.manifest import ManifestError
from kdvideo.data.manifests.official_folders import (
    from_hmdb51_folder,
    from_ucf101_folder,
    hmdb51_group,
    shared_groups,
    ucf101_group,
)
from kdvideo.data.manifests.official_lists import from_hmdb51_lists, from_ucf101_list
from kdvideo.data.manifests.scanning import VIDEO_EXTENSIONS, find_videos
from kdvideo.data.video.errors import ClipError
from kdvideo.data.video.frame_grid import ClipInfo, probe, read_frames

__all__ = [
    "VIDEO_EXTENSIONS",
    "ArrayStream",
    "AudioSpectrogram",
    "ClipError",
    "ClipInfo",
    "ClipReader",
    "ClipSource",
    "FrameDifference",
    "ManifestError",
    "MultiView",
    "PairedClips",
    "ReadableClips",
    "Segment",
    "Stream",
    "ViewProtocol",
    "Window",
    "find_videos",
    "from_csv",
    "from_folder",
    "from_hmdb51_folder",
    "from_hmdb51_lists",
    "from_kinetics_list",
    "from_ucf101_folder",
    "from_ucf101_list",
    "hmdb51_group",
    "mean_softmax",
    "multi_crop",
    "probe",
    "read_clip_list",
    "read_frames",
    "shared_groups",
    "single_pass",
    "split_by_group",
    "to_float",
    "ucf101_group",
    "unreadable_clips",
    "whole_video",
]
