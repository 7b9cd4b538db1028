"""Action detection: AVA's files, its frame-mAP, and a head that finds actions in boxes."""

from kdvideo._extras import check_installed

check_installed("kdvideo.detection", "pyarrow")

from kdvideo.detection.activitynet import FrameBoxes, FrameMAP, average_precision
from kdvideo.detection.annotations import Annotations, Boxes, Detections, KeyFrame, Proposals, key_frames
from kdvideo.detection.ava_evaluation import frame_map
from kdvideo.detection.boxes import BoxCoder, crop, hflip
from kdvideo.detection.csv_files import (
    read_annotations,
    read_detections,
    read_excluded,
    read_proposals,
    write_detections,
)
from kdvideo.detection.detector import Detector
from kdvideo.detection.label_map import read_label_map
from kdvideo.detection.loss import DetectionLoss, detection_loss, match
from kdvideo.detection.roi_head import RoIHead, RoIOutput, decode
from kdvideo.detection.window import key_frame_window

__all__ = [
    "Annotations",
    "BoxCoder",
    "Boxes",
    "DetectionLoss",
    "Detections",
    "Detector",
    "FrameBoxes",
    "FrameMAP",
    "KeyFrame",
    "Proposals",
    "RoIHead",
    "RoIOutput",
    "average_precision",
    "crop",
    "decode",
    "detection_loss",
    "frame_map",
    "hflip",
    "key_frame_window",
    "key_frames",
    "match",
    "read_annotations",
    "read_detections",
    "read_excluded",
    "read_label_map",
    "read_proposals",
    "write_detections",
]
