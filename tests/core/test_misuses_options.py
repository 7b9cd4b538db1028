"""Options of the wrong type: each is answered in one sentence where it is given, and not by torch or at the first call.

`Fails when` for every row: its check is removed, and a TypeError, an AttributeError or nothing comes then.
"""

from collections.abc import Callable

import pytest
import torch
from torch import nn

import kdvideo as kd
from kdvideo import functional, schedules

LINEAR = schedules.Linear(1.0, 2.0, steps=10)
OUT = kd.Output(torch.randn(2, 5), {"a": torch.randn(2, 8, 4, 4)})
META = kd.Output(torch.empty(2, 3, 5, device="meta"), {})
X = torch.ones(2, 3)
MASK = torch.ones(2, 3).bool()


class Bare(kd.Loss):
    def compute(self, student: kd.Output, teacher: kd.Output, given: object) -> torch.Tensor:
        return (student.logits - teacher.logits).abs().mean()


MISUSES: dict[str, tuple[Callable[[], object], str]] = {
    "a schedule of temperature": (
        lambda: kd.SoftTarget(temperature=LINEAR),
        r"temperature must be positive and finite, got Linear\(.*: only the weight of a term.*may be a schedule",
    ),
    "a class as temperature": (
        lambda: kd.SoftTarget(temperature=schedules.Linear),
        r"temperature must be positive and finite, got <class.*: Linear\(\.\.\.\), where a schedule is meant",
    ),
    "a skew as text": (lambda: kd.SkewedKL(skew="0.1"), r"skew must be in \[0, 1\), got '0\.1'"),
    "an exponent as text": (lambda: kd.AlphaBeta(alpha="1"), r"alpha and beta must be finite.*got '1' and 0\.3"),
    "a gamma of None": (lambda: kd.TTM(gamma=None), r"gamma must be positive and finite, got None"),
    "an eps of None": (lambda: kd.PKD("a", eps=None), r"eps must be positive and finite, got None"),
    "a power as list": (
        lambda: kd.AttentionTransfer("a", power=[2]),
        r"power must be at least 1 and finite, got \[2\]",
    ),
    "a momentum of the memory": (
        lambda: kd.CRD("a", 8, 8, samples=9, momentum="0.5"),
        r"momentum must be from 0 to 1, got '0\.5'",
    ),
    "a beta as text": (lambda: kd.JensenShannon(beta="1"), r"beta must be in \[0, 1\], got '1'"),
    "a ratio as text": (lambda: kd.MGD("a", 8, hidden_ratio="half"), r"hidden_ratio must be from 0 to 1, got 'half'"),
    "a scale as text": (lambda: kd.VID("a", 8, initial_variance="5"), r"initial_variance must be finite.*got '5'"),
    "a size as text": (lambda: kd.VID("a", "8"), r"channels must be positive, got '8'"),
    "an axis as text": (lambda: kd.LogitMSE(dim="c"), r"dim must be a whole number, got 'c': 1, or -1 for tokens"),
    "an axis of features": (lambda: kd.FeatureMSE("a", dim="c")(OUT, OUT), r"dim must name an axis of .*got 'c'"),
    "an axis of maps": (lambda: functional.cwd(X, X, dim="c"), r"dim must name (an|the channel) axis.*got 'c'"),
    "an axis that is not there": (lambda: functional.standardize(X, dim=3), r"dim must name an axis of shape \(2, 3\)"),
    "an axis of a mean": (
        lambda: kd.ensemble.mean_probabilities([X, X], dim=2),
        r"dim must name an axis of shape \(2, 3\), got 2",
    ),
    "half a class": (lambda: functional.top_k(X, 1.5), r"k must be between 1 and 2, .*got 1\.5"),
    "a strength as class": (lambda: kd.CTKD(strength=schedules.Linear), r"strength must be.*: Linear\(\.\.\.\)"),
    "a strength of None": (lambda: kd.CTKD(strength=None), r"strength must be finite and at least 0, got None"),
    "a momentum as class": (
        lambda: kd.EMATeacher(nn.Linear(2, 2), momentum=schedules.Cosine),
        r"momentum must be between 0 and 1, got <class.*: Cosine\(\.\.\.\) for a schedule",
    ),
    "milestones as list": (
        lambda: schedules.Milestones(0.1, [100, 200]),
        r"values must map steps to values, got a list of length 2: \{60_000: 0\.01\}",
    ),
    "a milestone as text": (lambda: schedules.Milestones(0.1, {"9": 0.1}), r"milestone must be a number, got '9'"),
    "a warmup of a number": (
        lambda: schedules.Warmup(4, then=0.1),
        r"then must be a schedule, got a float: Constant\(0\.1\) for a number",
    ),
    "a warmup of a class": (lambda: schedules.Warmup(4, then=schedules.Linear), r"got the class Linear"),
    "a constant as text": (lambda: schedules.Constant("1"), r"value must be a number, got '1'"),
    "a start as text": (lambda: schedules.Linear("0", 1.0, steps=3), r"start must be a number, got '0'"),
    "a stop of None": (lambda: schedules.Cosine(0.0, None, steps=3), r"stop must be a number, got None"),
    "steps as text": (lambda: schedules.Linear(0.0, 1.0, steps="3"), r"steps must be at least 1, got '3'"),
    "one number as size": (
        lambda: kd.projectors.pool(7),
        r"size must be 1 to 3 positive integers or None, got 7: \(7, 7\) for \(B, C, H, W\)",
    ),
    "half a position": (lambda: kd.projectors.Interpolate((7.5, 7)), r"size must be .*got \(7\.5, 7\)"),
    "one number as grid": (
        lambda: kd.projectors.ToGrid(14),
        r"size must be 1 to 3 positive integers, got 14: \(14, 14\)",
    ),
    "a prefix as text": (lambda: kd.projectors.ToGrid((2, 2), prefix="1"), r"prefix must be 0 or more, got '1'"),
    "a factor of 0": (
        lambda: kd.projectors.bottleneck(8, 16, factor=0),
        r"factor must be 1 to out_channels = 16, got 0",
    ),
    "a negative factor": (lambda: kd.projectors.bottleneck(8, 16, factor=-1), r"factor must be 1 to .*got -1"),
    "half a factor": (lambda: kd.projectors.bottleneck(8, 16, factor=0.5), r"got 0\.5: a whole number"),
    "a class for a teacher": (
        lambda: kd.FromTeacher("a", kd.SoftTarget),
        r"loss must be a Loss, got the class SoftTarget: SoftTarget\(\.\.\.\)",
    ),
    "no loss for a teacher": (lambda: kd.FromTeacher("a", None), r"loss must be a Loss, got None"),
    "a bare output of a teacher": (
        lambda: kd.FromTeacher("a", kd.SoftTarget())(OUT, kd.Output(None, {}, {"a": {"logits": X}})),
        r"the output of 'a' must be an Output, got a dict .*: wrap the model in kd\.Teacher",
    ),
    "a wrapped loss standardized": (
        lambda: kd.Standardized(kd.OnClasses(kd.SoftTarget(), student=[0, 1], teacher=[0, 1])),
        r"got OnClasses: put Standardized inside, OnClasses\(Standardized\(\.\.\.\), \.\.\.\)",
    ),
    "a class standardized": (lambda: kd.Standardized(kd.SoftTarget), r"got the class SoftTarget: SoftTarget\(\.\.\.\)"),
    "a class on classes": (
        lambda: kd.OnClasses(kd.SoftTarget, student=[0, 1], teacher=[0, 1]),
        r"loss must be a Loss, got the class SoftTarget: SoftTarget",
    ),
    "a sum standardized": (
        lambda: kd.Standardized(kd.SoftTarget() + kd.DKD()),
        r"got WeightedSum: put Standardized around the terms of a sum one by one",
    ),
    "a linear paraphraser": (
        lambda: kd.FactorTransfer("a", 8, nn.Linear(8, 8)),
        r"paraphraser must be a Paraphraser, got a Linear: train one first",
    ),
    "a number as theta": (
        lambda: functional.ctkd(X, X, theta=1.0, strength=1.0),
        r"theta must be a tensor, got a float",
    ),
    "a number as scale": (lambda: functional.vid(X, X, scale=1.0), r"scale must be a tensor, got a float"),
    "no keep": (lambda: functional.mgd(X, X, generate=lambda x: x, keep=None), r"keep must be a tensor, got None"),
    "classes as list": (
        lambda: kd.CRD("a", 8, 8, samples=3, classes=[0, 1, 2]),
        r"classes must be a tensor, got a list of length 3",
    ),
    "one width of a review": (
        lambda: kd.ReviewKD("a", 8, 16),
        r"there must be channels for each of 1 roles, got 8 and 16: a tuple, as \(8,\) for one",
    ),
    "one width of layers": (
        lambda: kd.SemCKD("a", "a", 8, 16, batch_size=2),
        r"there must be channels for each role, got 8 for \('a',\): a tuple of both",
    ),
    "layers without a partner": (
        lambda: functional.sem_ckd([[X, X]], [[X]], attention=torch.ones(2, 1, 2)),
        r"student and teacher must have a feature for each pair of layers, got \[2\] and \[1\] of them",
    ),
    "a module of an error": (
        lambda: kd.Regression(error=nn.L1Loss()),
        r"error must be a function of torch\.nn\.functional, got a L1Loss: F\.l1_loss",
    ),
    "two layers for one role": (
        lambda: kd.FeatureMSE({"a": ["b", "c"]}),
        r"roles must map each role of the student to one of the teacher, got \{'a': \['b', 'c'\]\}",
    ),
    "no such feature to classify": (
        lambda: kd.SimKD("map", nn.Linear(8, 5)).logits(OUT),
        r"the student has no feature 'map'; its roles are \['a'\]",
    ),
    "no classifier": (lambda: kd.SimKD("map", None), r"classifier must be a torch module, got None"),
    "a mask elsewhere": (
        lambda: kd.SoftTarget(dim=-1)(META, META, mask=MASK),
        r"mask must be on the device of the outputs, meta, got cpu: mask\.to\('meta'\)",
    ),
    "labels elsewhere": (
        lambda: kd.DKD(dim=-1)(META, META, labels=MASK.long()),
        r"labels must be on the device of the outputs, meta, got cpu: labels\.to\('meta'\)",
    ),
}


@pytest.mark.parametrize("name", MISUSES)
def test_an_option_is_checked_where_it_is_given(name: str) -> None:
    """Fails when a check of MISUSES is removed."""
    misuse, words = MISUSES[name]
    with pytest.raises(ValueError, match=words) as caught:
        misuse()
    assert "\n" not in str(caught.value)


def test_a_loss_without_a_name_is_called_as_its_class() -> None:
    """Fails when a subclass without `name` has none in sums, terms and errors."""
    terms = (Bare() + 0.5 * Bare(name="other")).terms(OUT, OUT)
    assert list(terms) == ["bare", "0.5*other"]
    with pytest.raises(ValueError, match="bare takes no normalizer"):
        Bare()(OUT, OUT, normalizer=2)


def test_numbers_of_other_libraries_are_numbers() -> None:
    """Fails when an option must be Python's own float."""
    for one in (torch.tensor(2.0), torch.tensor([2.0]).numpy()[0], 2):
        assert kd.SoftTarget(temperature=one)(OUT, OUT) == 0
