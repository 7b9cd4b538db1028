"""What users get wrong, and the one sentence each mistake is answered with: what came, what is wanted, what to do."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import kdvideo as kd
from kdvideo import functional
from kdvideo._paths import closest

X = torch.ones(2, 3)
OUT = kd.Output(torch.randn(2, 5), {"middle": torch.randn(2, 8)})
OTHER = kd.Output(torch.randn(2, 7), {})
LOGITS = torch.randn(2, 5)
TOKENS = kd.Output(torch.randn(2, 3, 4), {})


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 5))


class Scores(nn.Module):
    """A network that gives a dictionary, a tuple or an object of scores."""

    def __init__(self, kind: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.net, self.kind = net(), kind

    def forward(self, x: torch.Tensor) -> object:
        return self.kind(self.net(x))


def replica() -> object:
    student = kd.Student(net(), ["1"])
    student._is_replica = True  # what torch sets on the copies of nn.DataParallel
    return student(X)


MISUSES: dict[str, tuple[Callable[[], object], str]] = {
    "tensors into a loss": (lambda: kd.LogitMSE()(LOGITS, LOGITS), r"must be an Output.*got a Tensor.*kd.functional"),
    "tensors into terms": (lambda: kd.LogitMSE().terms(LOGITS, LOGITS), r"must be an Output.*got a Tensor"),
    "arrays into a loss": (lambda: kd.LogitMSE()(np.zeros((2, 5)), OUT), r"must be an Output.*got a ndarray"),
    "an Output into a function": (lambda: functional.logit_mse(OUT, OUT), r"must be tensors.*Output.*output\.logits"),
    "an Output into a mean": (lambda: kd.ensemble.mean_logits([OUT]), r"must be tensors.*Output.*output\.logits"),
    "a list into merge": (lambda: kd.ensemble.merge([OUT]), r"must map names to Outputs, got a list"),
    "an array as model": (lambda: kd.Teacher(np.zeros(3)), r"must be a torch module, got a ndarray"),
    "a name as model": (lambda: kd.Student("resnet18"), r"must be a torch module, got a str: build the network first"),
    "weights as model": (lambda: kd.Teacher(net().state_dict()), r"got an OrderedDict.*load_state_dict\(weights\)"),
    "a class as model": (lambda: kd.Teacher(nn.Linear), r"got the class Linear: pass Linear\(\.\.\.\)"),
    "a name as average": (lambda: kd.EMATeacher("resnet18"), r"must be a torch module, got a str"),
    "a number of dtype as logits": (lambda: kd.Teacher(net(), logits=2.5), r"logits must be a function.*got 2\.5"),
    "an unknown key": (
        lambda: kd.Teacher(Scores(lambda y: {"scores": y}), logits="logit")(X),
        r"nothing at \['logit'\].*\['scores'\]",
    ),
    "roles and paths swapped": (
        lambda: kd.Student(net(), {"middle": "1"}),
        r"paths to roles.*layers=\{'1': 'middle'\}",
    ),
    "DataParallel inside": (lambda: kd.Student(nn.DataParallel(net()), ["module.1"]), r"no nn\.DataParallel"),
    "DataParallel around": (replica, r"nn\.DataParallel must not hold.*DistributedDataParallel"),
    "one module for both": (lambda: (kd.Teacher(model := net()), kd.Student(model)), r"share parameters.*deepcopy"),
    "other batches": (
        lambda: functional.logit_mse(LOGITS, LOGITS[:1]),
        r"2 and 1 samples, pass the outputs of one batch",
    ),
    "other classes": (lambda: kd.SoftTarget()(OUT, OTHER), r"\(2, 5\) and \(2, 7\).*common_classes"),
    "other widths": (
        lambda: functional.feature_mse(torch.ones(2, 4, 3, 3), torch.ones(2, 8, 3, 3)),
        r"projector.*kd\.projectors\.infer",
    ),
    "a difference": (lambda: kd.LogitMSE() - kd.SoftTarget(), r"got a difference with a SoftTarget.*\+ and \*"),
    "a number minus": (lambda: 1 - kd.LogitMSE(), r"got a difference with an int"),
    "a negative": (lambda: -kd.LogitMSE(), r"got a difference"),
    "a quotient": (lambda: kd.LogitMSE() / 4, r"got a division by an int: 0\.25 \* loss"),
    "a value added": (lambda: kd.LogitMSE() + LOGITS.sum(), r"a loss must be added to a loss, got a Tensor"),
    "a function added": (lambda: kd.LogitMSE() + functional.logit_mse, r"got a function.*subclass of kd\.Loss"),
    "a product of losses": (lambda: kd.LogitMSE() * kd.SoftTarget(), r"a weight must be a number.*got a SoftTarget"),
    "two temperatures": (
        lambda: kd.SoftTarget(temperature=2.0) + kd.SoftTarget(),
        r"different names, got \['soft_target'\] twice.*name='soft_target_2'",
    ),
    "a path as model": (lambda: kd.Teacher(Path("a.pt")), r"got a PosixPath: build the network first.*'a\.pt'"),
    "no model": (lambda: kd.Teacher(None), r"got None: build the network first"),
    "several models": (lambda: kd.Teacher([net(), net()]), r"wrap each of them; kd\.ensemble"),
    "a key where there is a tensor": (lambda: kd.Teacher(net(), logits="logits")(X), r"logits='logits'.*leave it out"),
    "a dtype as text": (lambda: kd.Teacher(net(), dtype="bfloat16"), r"must be a torch\.dtype, got 'bfloat16'"),
    "one projector": (
        lambda: kd.Student(net(), ["1"], projectors=nn.Linear(8, 4)),
        r"projectors= must map roles.*a Linear: projectors=\{",
    ),
    "a projector of another width": (
        lambda: kd.Student(net(), ["1"], projectors={"1": nn.Linear(4, 4)})(X),
        r"the projector for '1' must take the student's feature, \(2, 8\).*infer finds one",
    ),
    "one select for all": (lambda: kd.Student(net(), ["1"], select="0"), r"select= must map roles.*got a str"),
    "one call for all": (lambda: kd.Student(net(), ["1"], call="all"), r"call= must map roles.*got a str"),
    "a role for roles": (
        lambda: kd.Student(net(), ["1"], without_gradient="one"),
        r"without_gradient must be a sequence of roles, got 'one'",
    ),
    "a module as role": (lambda: kd.FeatureMSE(nn.Linear(2, 2)), r"roles must be names of features, got a Linear"),
    "no role": (lambda: kd.FeatureMSE(None), r"roles must be names of features, got None"),
    "a class added": (
        lambda: kd.LogitMSE() + kd.SoftTarget,
        r"got the class SoftTarget: make one, SoftTarget\(\.\.\.\)",
    ),
    "a class of schedules": (
        lambda: kd.schedules.Linear * kd.LogitMSE(),
        r"number or a schedule, got the class Linear",
    ),
    "a number divided": (lambda: 2 / kd.LogitMSE(), r"weighted by a product, got an int divided by it"),
    "a temperature as text": (lambda: kd.SoftTarget(temperature="4"), r"temperature must be positive.*got '4'"),
    "a weight as text": (lambda: kd.DKD(alpha="1"), r"alpha must be finite and at least 0, got '1'"),
    "whole numbers as logits": (
        lambda: functional.logit_mse(LOGITS.long(), LOGITS.long()),
        r"floating-point tensors, got torch\.int64.*tensor\.float\(\)",
    ),
    "one tensor of logits": (
        lambda: kd.ensemble.mean_logits(LOGITS),
        r"a list, one tensor for each teacher, got a Tensor",
    ),
    "bare networks to infer": (lambda: kd.projectors.infer(net(), net(), X), r"must be wrapped, got a Sequential"),
    "a teacher where the student belongs": (
        lambda: kd.projectors.infer(kd.Teacher(net(), ["1"]), kd.Student(net(), ["1"]), X),
        r"the student must come first.*infer\(student, teacher",
    ),
    "weights into an average": (lambda: kd.EMATeacher(net()).update(net().state_dict()), r"got an OrderedDict"),
    "a momentum as text": (
        lambda: kd.EMATeacher(net(), momentum="0.9"),
        r"momentum must be between 0 and 1, got '0\.9'",
    ),
    "a name described": (lambda: kd.describe("resnet18", X), r"must be a torch module, got a str"),
    "roles as a set": (
        lambda: kd.FeatureMSE({"4c", "5c"}),
        r"roles must be in an order, got a set: a tuple, \('4c', '5c'\)",
    ),
    "a batch of two as two layers": (
        lambda: functional.fsp(torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)),
        r"two layers of each network, got a Tensor and a Tensor: fsp\(\(first, second\)",
    ),
    "labels as mask": (
        lambda: kd.SoftTarget(dim=-1)(TOKENS, TOKENS, mask=torch.tensor([[7, -100, 3], [0, 0, 1]])),
        r"mask must be bool, or integers 0 and 1, got -100 to 7: of labels pass labels != ignored",
    ),
    "labels as mask of terms": (
        lambda: (kd.SoftTarget(dim=-1) + kd.LogitMSE()).terms(TOKENS, TOKENS, mask=torch.tensor([[2, 1, 1]] * 2)),
        r"mask must be bool, or integers 0 and 1, got 1 to 2",
    ),
    "a negative weight tensor": (
        lambda: kd.ensemble.mean_logits([LOGITS, LOGITS], weights=torch.tensor([1.0, -1.0])),
        r"weights must be numbers of at least 0, not all 0, got \[1\.0, -1\.0\]",
    ),
    "weights of 0 for a sample": (
        lambda: kd.ensemble.mean_probabilities([LOGITS, LOGITS], weights=torch.tensor([[1.0, 1.0], [0.0, 0.0]])),
        r"weights must be numbers of at least 0, not all 0",
    ),
    "weights as text": (
        lambda: kd.ensemble.mean_logits([LOGITS, LOGITS], weights="12"),
        r"weights must be numbers, or a tensor, got a str",
    ),
    "weights of other lengths": (
        lambda: kd.ensemble.mean_logits([LOGITS, LOGITS], weights=[[1, 2], [1]]),
        r"weights must be numbers, or a tensor, got a list",
    ),
    "an ignored label in confidences": (
        lambda: kd.ensemble.confidence_weights([LOGITS, LOGITS], torch.tensor([-100, 0])),
        r"labels must be from 0 to 4, got -100 to 0: where a position has no class, leave its sample out",
    ),
    "labels as list in confidences": (
        lambda: kd.ensemble.confidence_weights([LOGITS, LOGITS], [0, 1]),
        r"labels must be a tensor, got a list",
    ),
    "teachers of one role": (
        lambda: kd.ensemble.merge({"a": kd.Output(None, {"b/c": X}), "a/b": kd.Output(None, {"c": X})}),
        r"roles of teachers must differ, got \['a/b/c'\] twice",
    ),
    "a point and a slash": (
        lambda: kd.Student(net(), {"0": "a.b", "1": "a/b"}, projectors={r: nn.Linear(8, 4) for r in ("a.b", "a/b")}),
        r"must differ in more than '\.' and '/', got \['a\.b', 'a/b'\]",
    ),
    "scores as attention": (
        lambda: kd.AttentionKL("a")(*[kd.Output(None, {"a": torch.full((2, 4, 3, 3), v)}) for v in (0.3, -1.0)]),
        r"attention maps must be probabilities, got scores of the teacher: apply softmax\(-1\), or use attention_mse",
    ),
    "no negatives": (
        lambda: functional.crd(X, X, student_negatives=torch.ones(2, 0, 3), teacher_negatives=X, samples=9),
        r"student_negatives must be at least one for each sample, got shape \(2, 0, 3\)",
    ),
    "negatives as list": (
        lambda: functional.crd(X, X, student_negatives=[X], teacher_negatives=X, samples=9),
        r"student_negatives must be a tensor, got a list",
    ),
    "a constant of 0": (
        lambda: functional.crd(X, X, student_negatives=X[:, None], teacher_negatives=X[:, None], samples=9, constant=0),
        r"constant must be positive, got 0",
    ),
    "a normalizer and no reduction": (
        lambda: functional.soft_target(LOGITS, LOGITS, reduction="none", normalizer=3),
        r"normalizer= divides a sum, but reduction='none' takes none",
    ),
    "projectors before infer": (
        lambda: kd.projectors.infer(
            kd.Student(net(), ["1"], projectors={"1": nn.Linear(8, 4)}), kd.Teacher(net(), ["1"]), X
        ),
        r"the student must have no projectors, got some for \['1'\]",
    ),
    "grids of no role": (
        lambda: kd.projectors.infer(kd.Student(net(), ["1"]), kd.Teacher(net(), ["1"]), X, grids={"one": (2, 4)}),
        r"grids= names the roles \['one'\], but the roles are \['1'\]",
    ),
    "a dictionary of inputs": (
        lambda: kd.projectors.infer(kd.Student(net(), ["1"]), kd.Teacher(net(), ["1"]), X, teacher_inputs={"x": X}),
        r"teacher_inputs must be a tensor or a tuple, got a dict with keys \['x'\]: pass the inputs in order",
    ),
    "another vocabulary": (
        lambda: functional.soft_target_top_k(LOGITS[:, :3], functional.top_k(LOGITS.sort().values, 2)),
        r"the teacher's classes must be from 0 to 2, as the student's, got 3 to 4",
    ),
    "too few classes": (
        lambda: functional.top_k(LOGITS, 3).logits(3),
        r"classes must be more than the 3 of the TopK, got 3",
    ),
    "features of nan": (
        lambda: kd.PHIS.fit(torch.full((4, 2), torch.nan)),
        r"features must be finite, got NaN",
    ),
    "features as list": (lambda: kd.PHIS.fit([[1.0, 2.0]]), r"features must be a tensor, got a list"),
    "an optimizer first": (
        lambda: kd.check_optimizer(torch.optim.SGD(net().parameters(), lr=0.1), net()),
        r"in this order, got a SGD and a Sequential",
    ),
}


@pytest.mark.parametrize("name", MISUSES)
def test_a_misuse_is_answered_in_one_sentence(name: str) -> None:
    """Fails when a check of MISUSES is removed: torch's own error, or none, comes then."""
    misuse, words = MISUSES[name]
    with pytest.raises(ValueError, match=words) as caught:
        misuse()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "key"),
    [(lambda y: {"scores": y}, "scores"), (lambda y: (None, y), 1), (lambda y: SimpleNamespace(scores=y), "scores")],
)
def test_logits_and_features_may_be_named_by_a_key(kind: Callable[[torch.Tensor], object], key: str | int) -> None:
    network = Scores(kind)
    output = kd.Student(network, {"": "all"}, logits=key, select={"all": key})(X)
    assert torch.equal(output.logits, network.net(X))
    assert torch.equal(output.features["all"], output.logits)


def test_closest_names_differ_in_case_first() -> None:
    """Fails when names are compared with their case: "4c" is then as near to 4F as to 4C."""
    assert closest("4c", [*["4F", "4E", "4D", "4B", "4C"], "mixed_4c"], 3)[0] == "4C"


REPRS = {
    "teacher": (
        kd.Teacher(net(), {"1": "middle"}, dtype=torch.bfloat16),
        "Teacher(model=Sequential of 77 parameters, ",
    ),
    "taps": (kd.Teacher(net(), {"1": "middle"}, dtype=torch.bfloat16), "layers={'1': 'middle'}, dtype=torch.bfloat16)"),
    "early exit": (kd.Teacher(net(), ["1"], logits=None, early_exit=True), "early_exit=True, logits=None)"),
    "student": (kd.Student(net(), ["1"], projectors={"1": nn.Linear(8, 4)}), "projectors={'1': Linear(in_features=8"),
    "loss": (kd.SoftTarget(temperature=2.0), "SoftTarget(temperature=2.0, reduction='sum', dim=1)"),
    "features": (kd.FeatureMSE("4c"), "FeatureMSE(roles='4c', "),
    "sum": (kd.LogitMSE() + 0.5 * kd.SoftTarget(), "SoftTarget(temperature=4.0"),
}


@pytest.mark.parametrize("name", REPRS)
def test_reprs_show_what_was_chosen(name: str) -> None:
    thing, words = REPRS[name]
    assert words in repr(thing)


def test_completion_and_types() -> None:
    assert {"data", "flow", "models", "Teacher", "functional"} <= set(dir(kd))
