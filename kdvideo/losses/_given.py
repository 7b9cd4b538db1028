"""What a criterion is given besides the two outputs, and what of it was used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from kdvideo._checks import check_tensor
from kdvideo._hints import kind
from kdvideo.features import Output


class Measurable(Protocol):
    """What `Given.measured` needs of a loss."""

    name: str

    def compute(self, student: Output, teacher: Output, given: Given) -> Tensor:
        """Compute the loss."""


class Given:
    """What a criterion is given besides the two outputs; see `Loss.forward`.

    It notes whether mask and normalizer were read: one that a loss does not read would be ignored silently.

    Args:
        labels: the true classes.
        mask: which positions count.
        index: the samples' numbers in the data set.
        step: of the training.
        normalizer: what the sum over valid positions is divided by.

    Attributes:
        labels: as given, or None.
        index: as given, or None.
        step: as given, or None.
        unread: which of mask and normalizer were given to the loss that is computed, and not read yet.

    Raises:
        ValueError: labels, mask or index that are no tensors.

    Examples:
        >>> import torch
        >>> given = Given(labels=torch.tensor([0, 1]), step=100)
        >>> given.need("labels", "my_loss"), given.step, given.mask
        (tensor([0, 1]), 100, None)
    """

    __slots__ = ("_mask", "_normalizer", "index", "labels", "step", "unread")

    def __init__(
        self,
        labels: Tensor | None = None,
        mask: Tensor | None = None,
        index: Tensor | None = None,
        step: int | None = None,
        normalizer: float | Tensor | None = None,
    ) -> None:
        for name, value in (("labels", labels), ("mask", mask), ("index", index)):
            if value is not None:
                check_tensor(value, name)
        self.labels, self.index, self.step = labels, index, step
        self._mask, self._normalizer = mask, normalizer
        self.unread: set[str] = set()

    @property
    def mask(self) -> Tensor | None:
        """Return the mask of valid positions, and note that the loss read it."""
        self.unread.discard("mask")
        return self._mask

    @property
    def normalizer(self) -> float | Tensor | None:
        """Return what the sum over valid positions is divided by, and note that the loss read it."""
        self.unread.discard("normalizer")
        return self._normalizer

    def with_labels(self, labels: Tensor) -> Given:
        """Copy it with other labels; what is read of the copy counts here too.

        Args:
            labels: those of the copy.

        Returns:
            The copy.
        """
        other = Given(labels, self._mask, self.index, self.step, self._normalizer)
        other.unread = self.unread
        return other

    def without_mask(self) -> Given:
        """Copy it without mask and normalizer, for features that they do not belong to.

        Returns:
            The copy.
        """
        self.unread.clear()
        return Given(self.labels, None, self.index, self.step)

    def note_vectors(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Note where there are only vectors, (B, C), which have no positions that a mask of positions could name.

        Args:
            pairs: the student's and the teacher's feature of each role.
        """
        if self._mask is not None and self._mask.ndim > 1 and all(a.ndim == b.ndim == 2 for a, b in pairs):
            self.unread.discard("mask")

    def measured(self, loss: Measurable, student: Output, teacher: Output) -> Tensor:
        """Compute a loss, or raise ValueError for a mask or a normalizer that it does not read.

        Args:
            loss: what is computed.
            student: the student's output.
            teacher: the teacher's output.

        Returns:
            The value of the loss.
        """
        for who, output in (("student", student), ("teacher", teacher)):
            if not hasattr(output, "logits"):
                raise ValueError(
                    f"{who} must be an Output, as Student and Teacher return, got {kind(output)}: wrap logits, "
                    "kd.Output(logits, {}), or call the function of kd.functional, which takes tensors"
                )
        if self._mask is None and self._normalizer is None:
            return loss.compute(student, teacher, self)
        self.unread = {name for name in ("mask", "normalizer") if getattr(self, f"_{name}") is not None}
        value = loss.compute(student, teacher, self)
        for name in sorted(self.unread):
            raise ValueError(
                f"{loss.name} takes no {name}: it would count all positions of the batch alike; call it on its own "
                f"without {name}= and add its value to that of the others"
            )
        return value

    def need(self, name: str, loss: str) -> Any:
        """Give what has a name, or raise ValueError saying which loss needs it.

        Args:
            name: "labels", "mask", "index", "step" or "normalizer".
            loss: the name of the loss, for the message.

        Returns:
            The value, never None.
        """
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"{loss} needs {name}: call criterion(student, teacher, {name}={name})")
        return value
