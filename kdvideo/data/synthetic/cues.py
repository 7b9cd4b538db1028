"""What in a synthetic clip shows its class: the motion, the appearance, or both, in exact shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator

from kdvideo.data.synthetic.seeding import check, seed_of
from kdvideo.data.synthetic.shapes import PLAIN, STILL

Drawn = list[tuple[str, str]]


class Cues(Protocol):
    """How motion and appearance of a class's clips are drawn; a dataclass, whose fields are recorded."""

    def draw(self, label: str, count: int, classes: Sequence[str], split: str, seed: int) -> Drawn:
        """Draw the cues of the clips of a class in a split.

        Args:
            label: the class.
            count: number of its clips in the split.
            classes: all classes.
            split: the name of the split.
            seed: of the data set.

        Returns:
            (motion, appearance) of each of the `count` clips.
        """
        ...


@dataclass(frozen=True)
class IndependentCues:
    """Two cues that are there or absent, independently, and never mislead: the same in every split.

    An object without the class's look is a gray disc, one without its motion stands still. With K classes and the
    defaults the best accuracy by appearance alone is 0.7 + 0.3 / K, by motion alone 0.65 + 0.35 / K, and by both
    0.895 + 0.105 / K: 75, 71 and 91 % for six classes.

    Args:
        look: fraction of the clips whose object has the hue and outline of its class.
        motion: fraction of the clips whose object moves as its class.

    Raises:
        ValueError: a fraction outside [0, 1].

    Examples:
        >>> clips = IndependentCues(look=0.7, motion=0.65).draw("spin", 20, ("orbit", "spin"), "train", seed=0)
        >>> sum(look == "spin" for _, look in clips), sum(motion == "spin" for motion, _ in clips)
        (14, 13)
    """

    look: float = 0.7
    motion: float = 0.65

    def __post_init__(self) -> None:
        check("look", self.look, 0 <= self.look <= 1, "a fraction in [0, 1]")
        check("motion", self.motion, 0 <= self.motion <= 1, "a fraction in [0, 1]")

    def draw(self, label: str, count: int, classes: Sequence[str], split: str, seed: int) -> Drawn:
        """Draw the four combinations of cues for the clips of a class, in shares as exact as can be.

        Args:
            label: the class.
            count: number of its clips in the split.
            classes: all classes.
            split: the name of the split.
            seed: of the data set.

        Returns:
            (motion, appearance) of each clip, in random order.
        """
        looking = round(self.look * count)
        moving = round(self.motion * looking), round(self.motion * (count - looking))
        drawn = [
            *[(label, label)] * moving[0],
            *[(STILL, label)] * (looking - moving[0]),
            *[(label, PLAIN)] * moving[1],
            *[(STILL, PLAIN)] * (count - looking - moving[1]),
        ]
        return _shuffled(drawn, (seed, split, label))


@dataclass(frozen=True)
class ShortcutCue:
    """Every clip has the motion of its class; its look agrees in the split "train" only: a shortcut that misleads.

    Args:
        share: fraction of the training clips that have the look of their class, the rest those of the others; in
            every other split a class has all looks equally often. 1/K is no cue, with K classes.

    Raises:
        ValueError: a fraction outside [0, 1].

    Examples:
        >>> cue, classes = ShortcutCue(share=0.6), ("orbit", "shear", "spin")
        >>> drawn = [cue.draw("spin", 30, classes, split, seed=0) for split in ("train", "test")]
        >>> [sum(look == "spin" for _, look in clips) for clips in drawn]
        [18, 10]
    """

    share: float = 0.6

    def __post_init__(self) -> None:
        check("share", self.share, 0 <= self.share <= 1, "a fraction in [0, 1]")

    def draw(self, label: str, count: int, classes: Sequence[str], split: str, seed: int) -> Drawn:
        """Draw the appearances of the clips of a class; all have its motion.

        Args:
            label: the class.
            count: number of its clips in the split.
            classes: all classes.
            split: the name of the split.
            seed: of the data set.

        Returns:
            (motion, appearance) of each clip, in random order.
        """
        share = self.share if split == "train" else None
        return [(label, look) for look in draw_appearances(label, count, classes, share, seed=(seed, split))]


def draw_appearances(
    label: str, count: int, classes: Sequence[str], cue: float | None, *, seed: tuple[int, str]
) -> list[str]:
    """Draw the appearances of `count` objects of a class, in exact shares and random order.

    With a `cue`, that fraction looks like `label` and the rest like the other classes in equal shares; without one
    all classes have equal shares.
    """
    generator = Generator().manual_seed(seed_of(*seed, label))
    own = 0 if cue is None else round(cue * count)
    rest = [name for name in classes if cue is None or name != label]
    order = torch.randperm(len(rest), generator=generator).tolist()
    looks = [label] * own + [rest[order[i % len(rest)]] for i in range(count - own)]
    return [looks[i] for i in torch.randperm(count, generator=generator).tolist()]


def _shuffled(drawn: Drawn, seed: tuple[object, ...]) -> Drawn:
    generator = Generator().manual_seed(seed_of(*seed))
    return [drawn[i] for i in torch.randperm(len(drawn), generator=generator).tolist()]
