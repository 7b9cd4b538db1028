"""Whatever is done to a student, in whatever order, its hooks and outputs stay what they are."""

import copy
import pickle

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import kdvideo as kd
from tests.core.nets import Breaks, clips

PATHS = ["stem", "block", "block.1", "head", "", "block:in", "head:in"]


class Life(RuleBasedStateMachine):
    """One network, any number of extractors on it, and a bare twin that shows what it must compute."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = Breaks()
        self.twin = copy.deepcopy(self.net)
        self.attached: list[kd.FeatureExtractor] = []

    @rule(path=st.sampled_from(PATHS), kind=st.sampled_from([kd.FeatureExtractor, kd.Student]))
    def attach(self, path: str, kind: type[kd.FeatureExtractor]) -> None:
        self.attached.append(kind(self.net, {path: "x"}))

    @precondition(lambda self: self.attached)
    @rule(data=st.data())
    def detach(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.attached) - 1))
        extractor = self.attached.pop(index)
        assert extractor.remove() is self.net
        with pytest.raises(kd.CaptureError):
            extractor(clips())
        self.twin(clips())

    @precondition(lambda self: self.attached)
    @rule(data=st.data(), seed=st.integers(0, 3), grad=st.booleans())
    def forward(self, data: st.DataObject, seed: int, grad: bool) -> None:
        extractor = data.draw(st.sampled_from(self.attached))
        path, _, is_input = extractor.paths["x"].partition(":")
        seen = []
        handle = self.twin.get_submodule(path).register_forward_hook(
            lambda m, i, out: seen.append(i[0] if is_input else out)
        )
        with torch.set_grad_enabled(grad):
            output, expected = extractor(clips(seed=seed)), self.twin(clips(seed=seed))
        handle.remove()
        assert torch.equal(output.logits, expected)
        assert torch.equal(output.features["x"], seen[0])
        assert output.features["x"].requires_grad == grad

    @precondition(lambda self: self.attached)
    @rule(data=st.data(), error=st.sampled_from([RuntimeError("no"), KeyboardInterrupt()]))
    def fail(self, data: st.DataObject, error: BaseException) -> None:
        self.net.error = error
        with pytest.raises(type(error)):
            data.draw(st.sampled_from(self.attached))(clips())
        self.net.error = None

    @precondition(lambda self: self.attached)
    @rule(data=st.data(), through_pickle=st.booleans())
    def replace_by_copy(self, data: st.DataObject, through_pickle: bool) -> None:
        extractor = data.draw(st.sampled_from(self.attached))
        everything = (self.net, self.attached)
        self.net, self.attached = (
            pickle.loads(pickle.dumps(everything)) if through_pickle else copy.deepcopy(everything)
        )
        assert extractor.model is not self.net
        assert all(other.model is self.net for other in self.attached)

    @rule(mode=st.booleans())
    def switch_mode(self, mode: bool) -> None:
        self.net.train(mode)
        self.twin.train(mode)

    @rule(dtype=st.sampled_from([torch.float64, torch.float32]))
    def move_and_back(self, dtype: torch.dtype) -> None:
        self.net.to(dtype).to(torch.float32)

    @precondition(lambda self: self.attached)
    @rule(data=st.data())
    def run_compiled(self, data: st.DataObject) -> None:
        torch._dynamo.reset()
        extractor = data.draw(st.sampled_from(self.attached))
        output = torch.compile(extractor, fullgraph=True, backend="eager")(clips())
        assert torch.equal(output.logits, self.twin(clips()))

    @invariant()
    def hooks_are_those_of_the_attached(self) -> None:
        hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in self.net.modules()]
        assert sum(hooks) == len(self.attached)
        assert all(extractor._recorder.seen is None for extractor in self.attached)

    @invariant()
    def network_equals_its_twin(self) -> None:
        ours, theirs = self.net.state_dict(), self.twin.state_dict()
        assert list(ours) == list(theirs)
        assert all(torch.equal(ours[key], theirs[key]) for key in ours if "batches" not in key)


@pytest.mark.reliability("C4")
class TestLife(Life.TestCase):
    settings = settings(deadline=None, max_examples=25, stateful_step_count=15)
