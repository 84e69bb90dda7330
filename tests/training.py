"""A few steps of training, for what is attached to a model."""

import torch

TEXT = [[20, 21, 22, 23, 24], [30, 31, 32, 33, 34]]  # rows of ids


def train(adapted, steps=8):
    """Towards one token behind each row; the loss before every step."""
    optimizer = torch.optim.AdamW(adapted.trained, lr=0.02)
    losses = []
    for _ in range(steps):
        out = adapted.model(input_ids=torch.tensor(TEXT)).logits[:, -1]
        loss = torch.nn.functional.cross_entropy(out, torch.tensor([50, 51]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
