"""A transformer sees a part of a clip's tokens and gives its teacher's features: UMT and MVD, without labels.

UMT encodes the visible tokens V alone and gives the teacher's tokens there; MVD has a decoder that gives those of the
hidden tokens H, standardized over channels. P is a projector on tokens:

    L_UMT = mean over V of 1 - cos(P s, t)        L_MVD = mean over H and channels of (P d(s) - t)^2

    python examples/masked_features.py

Li et al., "Unmasked Teacher", ICCV 2023, whose visible tokens are those that the teacher attends to; here both kinds
are random. Wang et al., "Masked Video Distillation", CVPR 2023.
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import kdvideo as kd

FRAMES, SIZE, CLASSES, TOKENS, VISIBLE, CUBE = 4, 32, 4, 2 * 4 * 4, 8, (2, 8, 8)  # a token is a cube of the clip


def clips(count: int) -> tuple[Tensor, Tensor]:
    """Draw clips (B, 3, T, H, W) of a square that moves right, left, down or up, and labels (B)."""
    labels, step = torch.randint(CLASSES, (count,)), torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1]])
    place = torch.randint(SIZE, (count, 1, 1, 2)) + step[labels][:, None, None] * torch.arange(FRAMES)[:, None, None]
    x, y = ((torch.arange(SIZE)[:, None] - place) % SIZE < 10).float().unbind(-1)  # (B, T, SIZE) each
    square = 2 * y[..., None] * x[..., None, :] - 1
    return (square + 0.5 * torch.randn(square.shape))[:, None].repeat(1, 3, 1, 1, 1), labels


def blocks(width: int, depth: int) -> nn.TransformerEncoder:
    """Build blocks of a transformer on tokens (B, N, C)."""
    block = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
    return nn.TransformerEncoder(block, depth, nn.LayerNorm(width), enable_nested_tensor=False)


def at(tokens: Tensor, places: Tensor | None) -> Tensor:
    """Return the tokens (B, V, C) at places (B, V), or all of them."""
    return tokens if places is None else tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[2]))


class VideoTransformer(nn.Module):
    """A small transformer; `tokens` are its features (B, N, C), of the visible tokens (B, V) if some are named."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.embed, self.place = nn.Conv3d(3, width, CUBE, CUBE), nn.Parameter(0.1 * torch.randn(TOKENS, width))
        self.tokens, self.proj = blocks(width, depth), nn.Linear(width, CLASSES)

    def forward(self, clip: Tensor, visible: Tensor | None = None) -> Tensor:
        """Return logits (B, K)."""
        tokens = self.embed(clip).flatten(2).mT + self.place
        return self.proj(self.tokens(at(tokens, visible)).mean(1))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """MVD's: the student's tokens at their places, a learned token elsewhere, and a block over all; then P."""

    def __init__(self, width: int, target: int) -> None:
        super().__init__()
        self.hidden, self.place = (nn.Parameter(0.1 * torch.randn(n, width)) for n in (1, TOKENS))
        self.body, self.proj = blocks(width, 1), nn.Linear(width, target)

    def forward(self, tokens: Tensor, visible: Tensor) -> Tensor:
        """Return tokens (B, N, C of the teacher)."""
        filled = self.hidden.expand(len(tokens), TOKENS, -1).scatter(1, visible[..., None].expand_as(tokens), tokens)
        return self.proj(self.body(filled + self.place))  # type: ignore[no-any-return]


def follow(network: nn.Module, teacher: kd.Teacher, head: nn.Linear | Decoder) -> None:
    """Train a network on the teacher's tokens: MVD with a decoder, UMT with a projector."""
    student = kd.Student(network, ["tokens"], projectors={} if isinstance(head, Decoder) else {"tokens": head})
    optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=2e-3)
    for _ in range(150):
        (batch, _), visible = clips(32), torch.rand(32, TOKENS).argsort(1)[:, :VISIBLE]
        s, t = (one.features["tokens"] for one in (student(batch, visible), teacher(batch)))
        if isinstance(head, Decoder):
            hidden = torch.ones(32, TOKENS, dtype=torch.bool).scatter(1, visible, False)
            loss = kd.functional.feature_mse(head(s, visible), F.layer_norm(t, t.shape[2:]), dim=-1, mask=hidden)
        else:
            loss = kd.functional.feature_cosine(s, at(t, visible), dim=-1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def learn(network: nn.Module, batch: Tensor, labels: Tensor) -> str:
    """Train on labeled clips; return the share of right classes of 500 new clips."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for _ in range(150):
        draw = torch.randint(len(batch), (32,))
        optimizer.zero_grad()
        F.cross_entropy(network(batch[draw]), labels[draw]).backward()
        optimizer.step()
    others, truth = clips(500)
    return f"{100 * float((network(others).argmax(1) == truth).float().mean()):.1f} %"


def main() -> None:
    """Train the teacher on many labels, and three students on few."""
    torch.manual_seed(0)
    network = VideoTransformer(64, 3)
    print("teacher, 2000 labels:", learn(network, *clips(2000)))
    teacher, few = kd.Teacher(network, ["tokens"]), clips(40)
    for name, head in {"alone": None, "after UMT": nn.Linear(32, 64), "after MVD": Decoder(32, 64)}.items():
        torch.manual_seed(1)
        student = VideoTransformer(32, 2)
        if head:
            follow(student, teacher, head)
        print(f"student {name}, 40 labels:", learn(student, *few), flush=True)


if __name__ == "__main__":
    main()
