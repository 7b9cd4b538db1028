"""Train one student of the ranking, find the unit of a weight, and time a step of every method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

import kdvideo as kd
from benchmarks.methods.methods import Method
from benchmarks.methods.networks import taps
from benchmarks.methods.pairs import Lesson, accuracy, batches
from kdvideo.training import Timings

UNIT_STEPS, UNIT_BATCHES = 30, 8
STEPS_PER_ROUND = 3
Split = Literal["validation", "test"]


@dataclass(frozen=True)
class Class:
    """A student that learns: its network with projectors, and the criterion; None: no distillation."""

    lesson: Lesson
    method: Method | None
    student: kd.Student
    criterion: kd.Loss | None

    def parameters(self) -> list[torch.nn.Parameter]:
        """Return all that learns."""
        return [*self.student.parameters(), *(self.criterion.parameters() if self.criterion else ())]

    def terms(self, index: Tensor, step: int, teacher: kd.Output | None = None) -> tuple[Tensor, Tensor | None]:
        """Compute the cross-entropy and the method's loss on a batch; the teacher's outputs are those known."""
        student = self.student(self.lesson.data.student[0][index])
        labels = self.lesson.labels[index]
        cross_entropy = F.cross_entropy(student.logits, labels)
        if self.criterion is None or self.method is None:
            return cross_entropy, None
        known = self.lesson.outputs
        assert known.logits is not None
        if teacher is None:
            features = {role: known.features[role][index] for role in self.method.roles}
            teacher = kd.Output(known.logits[index], features)
        return cross_entropy, self.criterion(student, teacher, labels=labels, index=index, step=step)

    def loss(self, index: Tensor, step: int, weight: float, teacher: kd.Output | None = None) -> Tensor:
        """Compute what is minimized."""
        cross_entropy, term = self.terms(index, step, teacher)
        if term is None or self.method is None:
            return cross_entropy
        return term if self.method.alone else cross_entropy + weight * term

    @torch.no_grad()
    def logits(self, inputs: Tensor) -> Tensor:
        """Predict as the method does."""
        self.student.eval()
        if isinstance(self.criterion, kd.SimKD):
            return self.criterion.logits(self.student(inputs))
        logits: Tensor = self.student.model(inputs)
        return logits


def begin(lesson: Lesson, method: Method | None) -> Class:
    """Make a student, the same for all methods at a seed, with the projectors and the criterion of a method."""
    torch.manual_seed(lesson.seed)
    network = lesson.pair.student()
    if method is None:
        return Class(lesson, None, kd.Student(network), None)
    student = kd.Student(network, **taps(network, method.roles))
    if method.projected:
        shown, views = lesson.data.student[0][:2], lesson.data.views[:2]
        projectors = kd.projectors.infer(student, lesson.teacher, shown, teacher_inputs=views)
        student.remove()
        student = kd.Student(network, **taps(network, method.roles), projectors=projectors)
    return Class(lesson, method, student, method.build(lesson))


def train(lesson: Lesson, method: Method | None, *, weight: float, rate: float, split: Split) -> float:
    """Train a student and measure its accuracy in percent."""
    one = begin(lesson, method)
    steps = lesson.pair.steps
    optimizer = torch.optim.Adam(one.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for step, index in enumerate(batches(len(lesson.labels), steps, lesson.seed)):
        optimizer.zero_grad()
        one.loss(index, step, weight).backward()
        optimizer.step()
        schedule.step()
    inputs, labels = getattr(lesson.data, split)
    return accuracy(one.logits(inputs), labels)


def unit(lesson: Lesson, method: Method, rate: float) -> float:
    """Compute the weight at which a method moves the student's network as much as the cross-entropy does.

    The ratio of the two gradients' norms, each averaged over 8 batches, after 30 steps of cross-entropy alone: at the
    first step some losses, such as that toward the uniform distribution, have almost no gradient yet.
    """
    one = begin(lesson, method)
    learned = list(one.student.model.parameters())
    optimizer = torch.optim.Adam(learned, lr=rate / 3, fused=True)
    norms: tuple[list[Tensor], list[Tensor]] = ([], [])
    for step, index in enumerate(batches(len(lesson.labels), UNIT_STEPS + UNIT_BATCHES, lesson.seed)):
        cross_entropy, term = one.terms(index, step)
        if step < UNIT_STEPS:
            optimizer.zero_grad()
            cross_entropy.backward()
            optimizer.step()
            continue
        assert term is not None
        for value, found in zip((cross_entropy, term), norms, strict=True):
            gradients = torch.autograd.grad(value, learned, retain_graph=True, allow_unused=True)
            found.append(torch.stack([one.norm() for one in gradients if one is not None]).norm())
    labels, taught = (float(torch.stack(found).mean()) for found in norms)
    return labels / taught


def time_steps(lesson: Lesson, methods: dict[str, Method | None], rounds: int) -> Timings:
    """Time a step of every method, with its teacher, in an order drawn anew for every round."""
    return Timings({name: _arm(lesson, one) for name, one in methods.items()}, rounds, quiet=True, shuffle=True)


def _arm(lesson: Lesson, method: Method | None) -> Callable[[], None]:
    one = begin(lesson, method)
    optimizer = torch.optim.Adam(one.parameters(), fused=True)
    teacher = None
    if method is not None and method.taught:
        # A wrapper of its own, which taps what this method needs.
        teacher = kd.Teacher(lesson.network, **taps(lesson.network, method.roles))
    drawn = batches(len(lesson.labels), STEPS_PER_ROUND, lesson.seed)

    def steps() -> None:
        for step, index in enumerate(drawn):
            outputs = teacher(lesson.data.views[index]) if teacher else None
            optimizer.zero_grad()
            one.loss(index, step, 1.0, outputs).backward()
            optimizer.step()

    return steps
