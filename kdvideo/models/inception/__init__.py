"""The Inception family: S3D-G, S3D and I3D, and what they are made of."""
