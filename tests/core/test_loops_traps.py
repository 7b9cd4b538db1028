"""Taps in networks and loops of others: Hugging Face, PEFT, torchvision's detectors, timm, PyTorch's transformer."""

import copy
import io
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import kdvideo as kd
from tests.core.nets import VideoNet, clips

IDS = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])


def bert(layers: int = 2, attention: str = "eager") -> nn.Module:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "num_labels": 3}
    config = transformers.BertConfig(**sizes, num_hidden_layers=layers, attn_implementation=attention)
    return transformers.BertForSequenceClassification(config)


def test_transformers_attention_maps_and_hidden_states() -> None:
    net = bert().eval()
    layers = {"bert.encoder.layer.*.attention.self[1]": "map.*", "bert.encoder.layer.*.output": "hidden.*"}
    output = kd.Student(net, layers)(input_ids=IDS)
    expected = net(input_ids=IDS, output_attentions=True, output_hidden_states=True)
    for layer in range(2):
        assert torch.equal(output.features[f"map.{layer}"], expected.attentions[layer])
        assert torch.equal(output.features[f"hidden.{layer}"], expected.hidden_states[layer + 1])


def test_fused_attention_gives_no_maps_and_says_so() -> None:
    layers = {"bert.encoder.layer.0.attention.self[1]": "map"}
    with pytest.raises(ValueError, match=r'\(role \'map\'\) must give a tensor, got None.*"eager"'):
        kd.Student(bert(attention="sdpa"), layers)(input_ids=IDS)


def test_loss_of_the_network_itself_is_kept_and_is_no_logits() -> None:
    output = kd.Student(bert())(input_ids=IDS, labels=torch.tensor([0, 2]))
    assert output.logits is output.raw.logits
    assert output.raw.loss.ndim == 0


def test_gradient_checkpointing_of_transformers() -> None:
    plain, saving = bert().eval(), bert().eval()
    saving.gradient_checkpointing_enable()
    saving.train()
    for module in saving.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for net in (plain, saving):
        output = kd.Student(net, {"bert.encoder.layer.0.attention.output": "h"})(input_ids=IDS)
        (output.logits.sum() + output.features["h"].square().sum()).backward()
    for ours, theirs in zip(saving.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


QUERY = "bert.encoder.layer.1.attention.self.query"


def test_adapters_added_before_and_after() -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["query"], init_lora_weights=False)
    student = kd.Student(bert(), {QUERY: "q"}).eval()
    block = kd.Student(student.model, {"bert.encoder.layer.1": "block"})
    peft.inject_adapter_in_model(config, student.model)
    with pytest.raises(kd.CaptureError, match="wrap again after adapters"):
        student(input_ids=IDS)
    again = kd.Student(student.remove(), {QUERY: "q"}).eval()
    features = again(input_ids=IDS).features
    assert not torch.equal(features["q"], again.model.get_submodule(QUERY).base_layer(features["q"]))
    assert "block" in block(input_ids=IDS).features  # an adapter inside the tapped block is part of it
    outer = peft.get_peft_model(bert(), config)
    assert "q" in kd.Student(outer, {f"base_model.model.{QUERY}": "q"})(input_ids=IDS).features


def test_an_albert_layer_runs_once_for_each_hidden_state() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 50, "embedding_size": 8, "hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2}
    net = transformers.AlbertModel(transformers.AlbertConfig(**sizes, num_hidden_layers=3)).eval()
    layer = "encoder.albert_layer_groups.0.albert_layers.0"
    hidden = net(IDS, output_hidden_states=True).hidden_states
    found = kd.Student(net, {layer: "h"}, call={"h": "all"}, logits=None, select={"h": first})(IDS).features
    assert all(torch.equal(found[f"h[{run}]"], hidden[run + 1]) for run in range(3))


def first(output: object) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


def test_detector_gives_its_losses_and_every_level() -> None:
    detection = pytest.importorskip("torchvision.models.detection")
    torch.manual_seed(0)
    body = detection.backbone_utils.resnet_fpn_backbone(backbone_name="resnet18", weights=None, trainable_layers=5)
    few = {f"rpn_{when}_nms_top_n_{mode}": 8 for when in ("pre", "post") for mode in ("train", "test")}
    net = detection.FasterRCNN(body, num_classes=3, min_size=32, max_size=32, **few)
    layers = {"backbone['0']": "p2", "backbone['1']": "p3", "rpn.head.conv": "heads"}
    student = kd.Student(net, layers, call={"heads": "all"}, logits=None)
    targets = [{"boxes": torch.tensor([[5.0, 5.0, 20.0, 20.0]]), "labels": torch.tensor([1])}]
    output = student([torch.rand(3, 32, 32)], targets)
    assert output.features["p2"].shape[-1] == 2 * output.features["p3"].shape[-1]
    assert [role for role in output.features if "heads" in role] == [f"heads[{level}]" for level in range(5)]
    assert set(output.raw) == {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg"}
    with pytest.raises(ValueError, match=r"got a dict with keys .*: pass logits=None where there are none; .*\.raw"):
        kd.Student(net)([torch.rand(3, 32, 32)], targets)


def test_functional_in_place_activation_is_named() -> None:
    models = pytest.importorskip("torchvision.models")
    net = models.DenseNet(growth_rate=4, block_config=(1, 1), num_init_features=4, num_classes=5).eval()
    x = torch.randn(2, 3, 32, 32)
    with pytest.raises(kd.CaptureError, match=r"overwritten in place .*: keep a copy, select=\{'f': torch.clone\}"):
        kd.Student(net, {"features": "f"})(x)
    found = kd.Student(net, {"features": "f"}, select={"f": torch.clone})(x).features["f"]
    assert torch.equal(found, net.features(x))


def test_distilled_vit_of_timm() -> None:
    timm = pytest.importorskip("timm")
    net = timm.create_model("deit_tiny_distilled_patch16_224", img_size=32, depth=2, num_classes=5)
    net.set_distilled_training(True)
    student = kd.Student(net.train(), {"head_dist": "distilled", "blocks.*.attn:in": "in.*"}, logits=first)
    output = student(torch.randn(2, 3, 32, 32))
    assert output.features["distilled"] is output.raw[1]
    assert output.features["in.1"].shape == (2, 6, 192)


def encoder(**options: bool) -> nn.TransformerEncoder:
    torch.manual_seed(0)
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, **options)


PADDED = torch.tensor([[False, False, False], [False, False, True]])


def test_the_fused_transformer_layer_runs_what_is_tapped() -> None:
    net = encoder(enable_nested_tensor=False).eval()
    expected = net(torch.ones(2, 3, 8))
    teacher = kd.Teacher(net, {"layers.*.linear1": "a.*", "layers.1.self_attn[0]": "b", "layers.0": "c"})
    output = teacher(torch.ones(2, 3, 8), src_key_padding_mask=PADDED)
    assert list(output.features) == ["a.0", "a.1", "b", "c"]
    torch.testing.assert_close(teacher(torch.ones(2, 3, 8)).logits, expected)


def test_packed_batches_of_the_transformer_are_named() -> None:
    teacher = kd.Teacher(encoder(), ["layers.0"])
    with pytest.raises(ValueError, match=r"padded tensor, got a nested one.*enable_nested_tensor=False"):
        teacher(torch.ones(2, 3, 8), src_key_padding_mask=PADDED)


def test_weights_that_attention_uses_without_calling_are_named() -> None:
    with pytest.raises(kd.CaptureError, match=r"did not run.*nn.MultiheadAttention uses the weights"):
        kd.Student(encoder(), ["layers.0.self_attn.out_proj"])(torch.ones(2, 3, 8))
    with pytest.raises(ValueError, match="need_weights=True"):
        kd.Student(encoder(), ["layers.0.self_attn[1]"])(torch.ones(2, 3, 8))


@pytest.mark.parametrize("tap", ["block.1", "block.1:in"])
def test_checkpoints_of_both_kinds(tap: str) -> None:
    class Saves(VideoNet):
        reentrant = False

        def forward(self, clip: Tensor) -> Tensor:
            return self.head(checkpoint(self.block, self.stem(clip), use_reentrant=self.reentrant).mean((2, 3, 4)))

    net = Saves(norm=False)
    student = kd.Student(net, {tap: "x"})
    output = student(clips())
    (output.logits.sum() + output.features["x"].square().sum()).backward()
    assert net.stem.weight.grad is not None
    net.reentrant = True
    with pytest.raises(kd.CaptureError, match="use_reentrant=False"):
        student(clips())


def test_functional_calls_and_transforms() -> None:
    student = kd.Student(VideoNet(), {"stem": "low", "head:in": "in"}).eval()
    halves = {name: p.detach() / 2 for name, p in student.named_parameters()}
    found = torch.func.functional_call(student, halves, (clips(),)).features["low"]
    torch.testing.assert_close(found, student(clips()).features["low"] / 2)

    def loss(parameters: dict[str, Tensor], clip: Tensor) -> Tensor:
        output = torch.func.functional_call(student, parameters, (clip[None],))
        return output.features["low"].square().sum() + output.features["in"].sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(dict(student.named_parameters()), clips())
    one = torch.func.grad(loss)(dict(student.named_parameters()), clips()[1])
    torch.testing.assert_close(each["model.stem.weight"][1], one["model.stem.weight"])


@pytest.mark.parametrize("kind", [kd.Student, kd.Teacher])
def test_wrappers_are_exported(kind: type) -> None:
    wrapper = kind(VideoNet(), {"stem": "low", "head:in": "in"}).eval()
    exported = torch.export.export(wrapper, (clips(),)).module()(clips())
    for role, feature in wrapper(clips()).features.items():
        torch.testing.assert_close(exported.features[role], feature)


def plain() -> nn.Module:
    return nn.Sequential(nn.Conv3d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 2 * 4 * 4, 5))


@pytest.mark.parametrize("way", ["script", "trace", "fx", "export"])
def test_the_bare_copy_is_exported_while_the_student_goes_on(way: str) -> None:
    student = kd.Student(plain(), {"1": "x", "3:in": "in"}).eval()
    bare = copy.deepcopy(student).remove()
    exported = {
        "script": torch.jit.script,
        "trace": lambda net: torch.jit.trace(net, clips()),
        "fx": torch.fx.symbolic_trace,
        "export": lambda net: torch.export.export(net, (clips(),)).module(),
    }[way](bare)
    torch.testing.assert_close(exported(clips()), student(clips()).logits)
    assert set(student(clips()).features) == {"x", "in"}


def test_the_saved_bare_copy_needs_no_kdvideo(tmp_path: Path) -> None:
    student = kd.Student(plain(), {"1": "x", "3:in": "in"})
    torch.save(copy.deepcopy(student).remove(), tmp_path / "net.pt")
    script = "import sys; sys.modules['kdvideo'] = None; import torch; torch.load(sys.argv[1], weights_only=False)"
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "net.pt")], check=True)
    torch.save(student.model, buffer := io.BytesIO())
    assert b"kdvideo" in buffer.getvalue()  # which is why the copy is needed


def test_trainer_of_transformers(tmp_path: Path) -> None:
    transformers, datasets = pytest.importorskip("transformers"), pytest.importorskip("datasets")
    pytest.importorskip("accelerate")
    layers = {"bert.encoder.layer.0.output": "h"}
    teacher = kd.Teacher(bert(), layers)
    criterion = kd.SoftTarget() + 0.1 * kd.FeatureMSE("h")

    class Distills(transformers.Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            s, t = model(**inputs), teacher(**inputs)
            loss = s.raw.loss + criterion(s, t)
            return (loss, {"logits": s.logits}) if return_outputs else loss

    data = datasets.Dataset.from_dict({"input_ids": IDS.tolist() * 2, "labels": [0, 1, 2, 0]})
    arguments = transformers.TrainingArguments(
        str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=2,
        remove_unused_columns=False,
        label_names=["labels"],
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy="no",
    )
    student = kd.Student(bert(1), layers, projectors={"h": nn.Linear(8, 8)})
    before = copy.deepcopy(student.state_dict())
    trainer = Distills(model=student, args=arguments, train_dataset=data, eval_dataset=data)
    trainer.train()
    assert not torch.equal(before["projectors.h.weight"], student.projectors["h"].weight)
    assert trainer.evaluate()["eval_loss"] > 0
