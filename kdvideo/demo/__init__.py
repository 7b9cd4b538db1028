"""The page of `kdvideo demo`: a clip, its frames and flow, and what some networks see in it."""
