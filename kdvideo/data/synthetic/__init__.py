"""Synthetic videos with known motions: action clips, and several actors in one video for detection (`localization`)."""

from kdvideo.data.synthetic.cues import IndependentCues, ShortcutCue
from kdvideo.data.synthetic.motions import CLASSES, MOTIONS, encode, render, write_dataset

__all__ = ["CLASSES", "MOTIONS", "IndependentCues", "ShortcutCue", "encode", "render", "write_dataset"]
