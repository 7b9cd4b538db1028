"""Distill a language model on texts of different length: masks, and a normalizer where batches are accumulated.

A large model of characters, trained on many lines of text, teaches a small one that has few. Every token has its own
distribution; padding counts nowhere:

    L = 1/M * sum over the M tokens that have a next one of [cross_entropy + KL(softmax(t) || softmax(s))]

Where a batch comes in parts, M is that of the whole batch, not of the part: `normalizer=`. Printed is how far the
gradient of the parts is from that of the batch, with it and without. Settings were chosen on lines that are not tested
on.

    python examples/language_model.py      # needs torch only; the text is Python's own documentation
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()

from pydoc_data.topics import topics
from statistics import mean, stdev

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import kdvideo as kd

CHARACTERS, PADDING, LONGEST = 128, 0, 70
SEEDS, STEPS = (0, 1), 150
CRITERION = kd.SoftTarget(temperature=1.0, dim=-1)


class LanguageModel(nn.Module):
    """A causal transformer of characters: tokens (B, N) -> logits of the next ones (B, N, K)."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(CHARACTERS, width), nn.Embedding(LONGEST, width)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, CHARACTERS)

    def forward(self, tokens: Tensor) -> Tensor:
        """Predict; padding stands at the end, where causal attention does not see it."""
        length = tokens.shape[1]
        causal = nn.Transformer.generate_square_subsequent_mask(length)
        embedded = self.token(tokens) + self.position.weight[:length]
        logits: Tensor = self.head(self.blocks(embedded, mask=causal, is_causal=True))
        return logits


def lines() -> list[Tensor]:
    """Return lines of Python's documentation as numbers of ASCII characters, in a random order."""
    every = [line.strip() for text in topics.values() for line in text.splitlines()]
    kept = sorted({line for line in every if line.isascii() and 20 <= len(line) <= LONGEST})
    order = torch.randperm(len(kept), generator=torch.Generator().manual_seed(0)).tolist()
    return [torch.tensor(list(kept[i].encode())) for i in order]


def loss_of(student: nn.Module, texts: list[Tensor], teacher: kd.Teacher | None, tokens: float | None = None) -> Tensor:
    """Compute the loss of a batch or a part of one; `tokens` is M, by default the number of these texts."""
    padded = nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=PADDING)
    inputs, following = padded[:, :-1], padded[:, 1:]
    mask = following != PADDING
    s = kd.Output(student(inputs), {})
    assert s.logits is not None
    loss = F.cross_entropy(s.logits[mask], following[mask], reduction="sum") / (tokens or mask.sum())
    return loss if teacher is None else loss + CRITERION(s, teacher(inputs), mask=mask, normalizer=tokens)


def train(net: nn.Module, texts: list[Tensor], teacher: kd.Teacher | None = None) -> nn.Module:
    """Train on texts."""
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(STEPS):
        loss = loss_of(net, [texts[i] for i in torch.randint(len(texts), (16,)).tolist()], teacher)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


def gradient(net: nn.Module, batches: list[list[Tensor]], teacher: kd.Teacher, tokens: float | None) -> Tensor:
    """Return the gradient accumulated over the parts of a batch; without `tokens` the mean of their means."""
    net.zero_grad()
    for texts in batches:
        (loss_of(net, texts, teacher, tokens) / (1 if tokens else len(batches))).backward()
    return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])


def main() -> None:
    """Train teacher and students, print their losses on other lines, and compare accumulated gradients."""
    texts = lines()
    few, many, test = texts[:150], texts[:3000], texts[4000:4500]
    rows: dict[str, list[float]] = {"teacher": [], "student alone": [], "student taught": []}
    for seed in SEEDS:
        torch.manual_seed(seed)
        teacher = kd.Teacher(train(LanguageModel(64, 2), many))
        students = []
        for with_teacher in (None, teacher):
            torch.manual_seed(seed)  # the same first weights and batches
            students.append(train(LanguageModel(32, 1), few, with_teacher))
        for row, net in zip(rows.values(), (teacher.model, *students), strict=True):
            with torch.no_grad():
                row.append(float(loss_of(net, test, None)))
    print(f"cross-entropy of a character of other lines, mean ± standard deviation of {len(SEEDS)} seeds:")
    for name, values in rows.items():
        print(f"  {name:<16} {mean(values):5.3f} ± {stdev(values):.3f}")

    batch = sorted(test[:16], key=len)
    parts, tokens = [batch[:4], batch[4:]], float(sum(len(text) - 1 for text in batch))
    whole = gradient(students[1], [batch], teacher, None)
    for name, normalizer in (("normalizer of the batch", tokens), ("means of the parts", None)):
        gap = (gradient(students[1], parts, teacher, normalizer) - whole).norm() / whole.norm()
        print(f"accumulated, {name}: gradient differs by {gap:.1e} of its length")


if __name__ == "__main__":
    main()
