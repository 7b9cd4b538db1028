"""Every loss as a function of tensors, (student, teacher) in that order."""

from kdvideo.losses import feature_mse, logit_mse, soft_target

__all__ = ["feature_mse", "logit_mse", "soft_target"]
