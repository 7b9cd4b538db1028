"""S3D-G, S3D and I3D, the video networks on the skeleton of Inception-v1, and their layers."""
