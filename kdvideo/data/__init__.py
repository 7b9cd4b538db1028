"""Video clips: reading files, manifests of data sets, and paired RGB and flow views.

`kdvideo.data.synthetic`, which writes a data set of its own, is imported by name.
"""

from .errors import ClipError
from .folders import from_folder, split_by_group
from .lists import from_csv
from .manifest import ManifestError
from .paired import PairedClips
from .reading import ClipInfo, probe, read_frames

__all__ = [
    "ClipError",
    "ClipInfo",
    "ManifestError",
    "PairedClips",
    "from_csv",
    "from_folder",
    "probe",
    "read_frames",
    "split_by_group",
]
