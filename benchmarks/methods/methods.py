"""Every loss of kdvideo as a method of the ranking, or the reason why it is none.

Hyperparameters other than the weight are those that the paper or its authors' code name for classification, where
the networks are not too small for them: CRD draws 128 negatives into 64 dimensions, ReviewKD fuses 32 channels, and
SemCKD chooses among two stages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import kdvideo as kd
from benchmarks.methods.pairs import BATCH, Lesson, Pair
from kdvideo.schedules import Cosine

STAGES = ("early", "middle", "late")
LAST = STAGES[1:]


@dataclass(frozen=True)
class Method:
    """One row of the ranking.

    Args:
        build: makes the loss for a lesson.
        roles: of the features that it compares.
        projected: whether the student's features are mapped to the teacher's shape by `kd.projectors.infer`; methods
            whose papers need no projector, or bring their own, get the features as they are.
        alone: whether the loss stands without a cross-entropy beside it; its learning rate is then tuned.
        taught: False where no teacher runs.
    """

    build: Callable[[Lesson], kd.Loss]
    roles: tuple[str, ...] = ()
    projected: bool = False
    alone: bool = False
    taught: bool = True


def _late(build: Callable[[Lesson], kd.Loss]) -> Method:
    return Method(build, ("late",), projected=True)


def _relation(build: Callable[[Lesson], kd.Loss], role: str = "pooled") -> Method:
    return Method(build, (role,))


def _norm(lesson: Lesson) -> kd.Loss:
    assert lesson.network.norm is not None
    return kd.OFD("before_relu", lesson.network.norm)


def _classes(lesson: Lesson) -> kd.Loss:
    (student,), (teacher,) = lesson.channels("pooled")
    labels = lesson.labels
    return kd.CRD("pooled", student, teacher, samples=len(labels), classes=labels, dim=64, negatives=128)


def _factors(lesson: Lesson) -> kd.Loss:
    (student,), _ = lesson.channels("late")
    return kd.FactorTransfer("late", student, lesson.paraphraser)


def _teachers_channels(lesson: Lesson) -> int:
    return lesson.channels("late")[1][0]


METHODS: Mapping[str, Method] = {
    # on logits
    "SoftTarget": Method(lambda _: kd.SoftTarget(temperature=4.0)),
    "LogitMSE": Method(lambda _: kd.LogitMSE()),
    "DKD": Method(lambda _: kd.DKD(alpha=1.0, beta=8.0, temperature=4.0)),
    "NKD": Method(lambda _: kd.NKD(gamma=1.5)),
    "DIST": Method(lambda _: kd.DIST(temperature=4.0)),
    "Standardized": Method(lambda _: kd.Standardized(kd.SoftTarget(temperature=2.0))),
    "CTKD": Method(lambda lesson: kd.CTKD(strength=Cosine(0.0, 1.0, steps=lesson.pair.steps))),
    "WSLD": Method(lambda _: kd.WSLD(temperature=4.0)),
    "TTM": Method(lambda _: kd.TTM(gamma=0.1)),
    "WTTM": Method(lambda _: kd.WTTM(gamma=0.2)),
    "MLKD": Method(lambda _: kd.MLKD(temperature=4.0) + kd.SoftTarget(temperature=4.0)),
    "OFA": Method(lambda _: kd.OFA(gamma=1.5), alone=True),
    "ReverseKL": Method(lambda _: kd.ReverseKL()),
    "JensenShannon": Method(lambda _: kd.JensenShannon()),
    "SkewedKL": Method(lambda _: kd.SkewedKL()),
    "SkewedReverseKL": Method(lambda _: kd.SkewedReverseKL()),
    "AlphaBeta": Method(lambda _: kd.AlphaBeta()),
    "TotalVariation": Method(lambda _: kd.TotalVariation()),
    "BinaryKD": Method(lambda _: kd.BinaryKD()),
    # without a teacher
    "UniformTeacher": Method(lambda _: kd.UniformTeacher(), taught=False),
    "VirtualTeacher": Method(lambda _: kd.VirtualTeacher(), taught=False),
    # on features, projected
    "FeatureMSE": _late(lambda _: kd.FeatureMSE("late")),
    "FeatureCosine": _late(lambda _: kd.FeatureCosine("late")),
    "FoundationFeature": _late(lambda _: kd.FoundationFeature("late")),
    "CWD": _late(lambda _: kd.CWD("late")),
    "PKD": _late(lambda _: kd.PKD("late")),
    "ICKD": _late(lambda _: kd.ICKD("late")),
    "FSP": Method(lambda _: kd.FSP("middle", "late"), ("middle", "late"), projected=True),
    "VID": _late(lambda lesson: kd.VID("late", _teachers_channels(lesson))),
    "MGD": _late(
        lambda lesson: kd.MGD(
            "late", _teachers_channels(lesson), axes=lesson.pair.axes, hidden="channels", hidden_ratio=0.15
        )
    ),
    "OFD": Method(_norm, ("before_relu",), projected=True),
    "SRRL": _late(lambda lesson: kd.SRRL("late", lesson.network.classifier)),
    "SimKD": Method(lambda lesson: kd.SimKD("late", lesson.network.classifier), ("late",), projected=True, alone=True),
    # on features as they are
    "AttentionTransfer": _relation(lambda _: kd.AttentionTransfer("late"), "late"),
    "NST": _relation(lambda _: kd.NST("late"), "late"),
    "SimilarityPreserving": _relation(lambda _: kd.SimilarityPreserving("late"), "late"),
    "CorrelationCongruence": _relation(lambda _: kd.CorrelationCongruence("pooled")),
    "RKDDistance": _relation(lambda _: kd.RKDDistance("pooled")),
    "RKDAngle": _relation(lambda _: kd.RKDAngle("pooled")),
    "PKT": _relation(lambda _: kd.PKT("pooled")),
    "CRD": _relation(_classes),
    "FactorTransfer": _relation(_factors, "late"),
    "ReviewKD": Method(
        lambda lesson: kd.ReviewKD(STAGES, *lesson.channels(*STAGES), middle=32, axes=lesson.pair.axes), STAGES
    ),
    "SemCKD": Method(
        lambda lesson: kd.SemCKD(LAST, LAST, *lesson.channels(*LAST), batch_size=BATCH, axes=lesson.pair.axes), LAST
    ),
}

_ATTENTION = "compares attention inside transformers: no pair has a transformer on both sides"
_NUMBERS = "for outputs that are numbers: these pairs classify"
NOT_APPLICABLE: Mapping[str, str] = {
    "AttentionKL": _ATTENTION,
    "AttentionMSE": _ATTENTION,
    "ValueRelation": _ATTENTION,
    "Regression": _NUMBERS,
    "BoundedRegression": _NUMBERS,
    "ContrastiveRelations": "compares image and text embeddings: there is one modality in each network",
    "OnClasses": "for networks whose classes differ: here they agree, and it is the loss that it holds",
    "PHIS": "no loss: it puts several teachers on one scale, and there is one teacher",
    "FromTeacher": "for several teachers: here there is one, and it is the loss that it holds",
    "SoftTargetTopK": "the values of SoftTarget over the classes that a cache keeps",
    "SoftTargetChunked": "the values of SoftTarget, computed in parts for large vocabularies",
}


def not_applicable(pair: Pair) -> dict[str, str]:
    """Return name -> reason for every loss that a pair cannot have."""
    without_norm = {"OFD": "needs a batch norm before a ReLU in the teacher: a transformer has none"}
    return {**NOT_APPLICABLE, **(without_norm if pair.teacher().norm is None else {})}
