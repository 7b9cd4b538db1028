"""Action detection: AVA's files, its frame-mAP, and a head that finds actions in boxes."""

from kdvideo.detection.average_precision import FrameBoxes, FrameMAP, frame_ap
from kdvideo.detection.boxes import BoxCoder, crop, hflip
from kdvideo.detection.detector import Detector
from kdvideo.detection.evaluate import frame_map
from kdvideo.detection.label_map import read_label_map
from kdvideo.detection.loss import DetectionLoss, detection_loss, match
from kdvideo.detection.reading import (
    read_annotations,
    read_detections,
    read_excluded,
    read_proposals,
    write_detections,
)
from kdvideo.detection.roi_head import RoIHead, RoIOutput, decode
from kdvideo.detection.tables import Annotations, Boxes, Detections, KeyFrame, Proposals, key_frames
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
    "crop",
    "decode",
    "detection_loss",
    "frame_ap",
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
