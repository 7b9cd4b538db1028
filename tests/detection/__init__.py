"""Tests of kdvideo.detection."""
