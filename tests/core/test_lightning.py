"""Teachers inside a LightningModule: neither saved nor changed; the moving average is saved."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import kdvideo as kd
from tests.core.test_teacher import fingerprint

lightning = pytest.importorskip("lightning.pytorch")


def net(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(12, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.5), nn.Linear(width, 3)
    )


class Distills(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.teacher = kd.Teacher(net(16), {"3": "h"})
        self.student = kd.Student(net(8), {"3": "h"}, projectors={"h": kd.projectors.linear(8, 16)})
        self.average = kd.EMATeacher(self.student, momentum=0.5)
        self.criterion = kd.SoftTarget() + 0.1 * kd.FeatureMSE("h")

    def training_step(self, batch: list[Tensor], number: int) -> Tensor:
        x, label = batch
        s = self.student(x)
        loss = F.cross_entropy(s.logits, label) + self.criterion(s, self.teacher(x))
        return loss + kd.functional.logit_mse(s.logits, self.average(x).logits)

    def validation_step(self, batch: list[Tensor], number: int) -> None:
        self.log("error", F.cross_entropy(self.student(batch[0]).logits, batch[1]))

    def on_train_batch_end(self, *_: object) -> None:
        self.average.update(self.student)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], weight_decay=0.1)


@pytest.mark.reliability("C1")
def test_the_teacher_is_neither_saved_nor_changed(tmp_path: Path) -> None:
    """Fails when `Teacher.state_dict` fills the destination of a module that holds the teacher."""
    torch.manual_seed(0)
    module = Distills()
    before, start = fingerprint(module.teacher), module.average.model[1].weight.clone()
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.randn(16, 12), torch.randint(0, 3, (16,))), 4
    )
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", default_root_dir=tmp_path, **quiet)
    trainer.fit(module, loader, loader)
    assert fingerprint(module.teacher) == before
    assert not torch.equal(module.average.model[1].weight, start)
    frozen = {id(p) for p in module.teacher.parameters()}
    assert not frozen & {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}

    path = trainer.checkpoint_callback.best_model_path
    names = torch.load(path, weights_only=False)["state_dict"]
    assert {name.split(".")[0] for name in names} == {"student", "average"}
    again = Distills.load_from_checkpoint(path)
    assert torch.equal(again.student.model[1].weight, module.student.model[1].weight)
    assert torch.equal(again.average.model[1].weight, module.average.model[1].weight)
    assert again.double().teacher.model[1].weight.dtype == torch.float64
