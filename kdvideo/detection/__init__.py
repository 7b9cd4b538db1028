"""Action detection: AVA's files and its frame-mAP."""

from kdvideo.detection.average_precision import FrameBoxes, FrameMAP, frame_ap
from kdvideo.detection.evaluate import frame_map
from kdvideo.detection.label_map import read_label_map
from kdvideo.detection.reading import (
    read_annotations,
    read_detections,
    read_excluded,
    read_proposals,
    write_detections,
)
from kdvideo.detection.tables import Annotations, Boxes, Detections, KeyFrame, Proposals, key_frames
