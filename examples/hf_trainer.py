"""Distill with the Hugging Face Trainer: one overridden method; its checkpoints hold the bare student.

The Trainer gets the student as it is, so saving, resuming and `from_pretrained` know nothing of distillation. The
`Output` of the student is made by hand from what it returns; that of the teacher comes from `kd.Teacher`:

    L = cross_entropy(s(x), next) + KL(softmax(t(x)) || softmax(s(x))) + cosine distance of the last hidden states

Texts differ in length. The Trainer adds up the losses of an accumulated batch and says how many labels that has; as
`normalizer=` every token counts the same, and the weights are those of a batch that is not split.

    python examples/hf_trainer.py      # needs transformers and accelerate; the texts are Python's own documentation
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()

import tempfile
from pydoc_data.topics import topics
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback, Trainer, TrainingArguments
from transformers.utils.logging import disable_progress_bar

import kdvideo as kd

CHARACTERS, PADDING, IGNORED = 128, 0, -100
Batch = dict[str, Tensor]


def language_model(layers: int) -> Any:
    """Build a small model of characters."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": layers}
    return LlamaForCausalLM(LlamaConfig(vocab_size=CHARACTERS, pad_token_id=PADDING, **sizes))


def lines(count: int) -> list[list[int]]:
    """Return lines of Python's documentation as numbers of ASCII characters."""
    every = [line.strip() for text in topics.values() for line in text.splitlines()]
    return [list(line.encode()) for line in every if line.isascii() and 20 <= len(line) <= 60][:count]


def collate(texts: list[list[int]]) -> Batch:
    """Pad texts to one length; padding is neither attended to nor a label."""
    width = max(map(len, texts))
    tokens = torch.tensor([text + [PADDING] * (width - len(text)) for text in texts])
    keep = tokens != PADDING
    return {"input_ids": tokens, "attention_mask": keep.long(), "labels": tokens.where(keep, IGNORED)}


class DistillationTrainer(Trainer):  # type: ignore[misc]
    """A Trainer whose model learns from a teacher."""

    teacher: kd.Teacher
    criterion = kd.SoftTarget(temperature=1.0, dim=-1) + kd.FeatureCosine("hidden", dim=-1)

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Tensor | None = None
    ) -> Any:
        """Compute the loss of a batch or of a part of one."""
        out = model(**inputs, output_hidden_states=True, num_items_in_batch=num_items_in_batch)
        s = kd.Output(out.logits, {"hidden": out.hidden_states[-1]})
        t = self.teacher(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        mask = inputs["labels"].roll(-1, 1) != IGNORED  # where the next character is a label
        mask[:, -1] = False
        loss = self.criterion(s, t, mask=mask, normalizer=num_items_in_batch)
        if num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes  # whose gradients are averaged
        loss = out.loss + loss
        return (loss, out) if return_outputs else loss


def trainer(kind: type[Trainer], layers: int, folder: str, *, parts: int = 1, steps: int = 60) -> Any:
    """Return a Trainer with a new model, for batches of 16 texts that come in parts."""
    arguments = TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        save_steps=steps,
        per_device_train_batch_size=16 // parts,
        gradient_accumulation_steps=parts,
        learning_rate=1e-2,
        disable_tqdm=True,
        report_to="none",
        use_cpu=True,
    )
    texts = lines(1024)
    made = kind(language_model(layers), arguments, collate, train_dataset=texts[:768], eval_dataset=texts[768:])
    made.remove_callback(PrinterCallback)
    return made


def main() -> None:
    """Train the teacher with a plain Trainer, then the student in whole and in split batches; read a checkpoint."""
    disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        plain = trainer(Trainer, 2, f"{folder}/teacher", steps=150)
        plain.train()
        print(f"teacher: cross-entropy {plain.evaluate()['eval_loss']:.3f} on other lines")
        DistillationTrainer.teacher = kd.Teacher(plain.model, {"model.norm": "hidden"})
        weights = []
        for parts in (1, 4):
            taught = trainer(DistillationTrainer, 1, f"{folder}/student", parts=parts)
            taught.train()
            weights.append(torch.cat([p.detach().flatten() for p in taught.model.parameters()]))
            print(f"student, batches in {parts} part(s): loss {taught.evaluate()['eval_loss']:.4f}")
        print(f"largest difference of a weight: {(weights[0] - weights[1]).abs().max():.1e}")

        checkpoint = LlamaForCausalLM.from_pretrained(f"{folder}/student/checkpoint-60")
        same = all(torch.equal(a, b) for a, b in zip(checkpoint.parameters(), taught.model.parameters(), strict=True))
        print(f"the checkpoint is the bare student: {same}")


if __name__ == "__main__":
    main()
