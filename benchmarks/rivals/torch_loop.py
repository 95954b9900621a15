"""Train the seven variants in a plain PyTorch loop, without any tracking.

Started by `benchmarks.rivals`, in a process of its own, with two files.
"""

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.models import inception_v3

from benchmarks.rivals.job import answer
from benchmarks.rivals.job import Grid
from study.config import TrialConfig

# filters and stride of each pair of convolutions, as in keras.applications.MobileNet
PAIRS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2),
         (1024, 1)]  # fmt: skip


def convolution(
    channels: int, filters: int, kernel: int, stride: int, groups: int = 1
) -> list[nn.Module]:
    """Make a convolution with batch normalization and bounded ReLU."""
    layer = nn.Conv2d(
        channels, filters, kernel, stride, padding=kernel // 2, groups=groups, bias=False
    )
    return [layer, nn.BatchNorm2d(filters), nn.ReLU6(inplace=True)]


def mobilenet(alpha: float, pool: nn.Module, head: nn.Module) -> nn.Module:
    """Build MobileNet v1, which torchvision lacks."""
    channels = int(32 * alpha)
    layers = convolution(3, channels, 3, 2)
    for full, stride in PAIRS:
        filters = int(full * alpha)
        layers += convolution(channels, channels, 3, stride, groups=channels)
        layers += convolution(channels, filters, 1, 1)
        channels = filters
    return nn.Sequential(*layers, pool, head)


def inception(pool: nn.Module, head: nn.Module) -> nn.Module:
    """Build torchvision's InceptionV3 with another pooling layer and head."""
    network = inception_v3(weights=None, aux_logits=False, init_weights=False)
    network.avgpool, network.dropout, network.fc = pool, nn.Identity(), head
    return network


def built(config: TrialConfig, classes: int) -> nn.Module:
    """Build the network of a config, channels last, without the softmax.

    The loss contains the softmax.
    """
    pool = nn.AdaptiveAvgPool2d(1) if config.head == "gap" else nn.Identity()
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(config.hidden_layers):
        layers += [nn.LazyLinear(config.dense_units), nn.ReLU(), nn.Dropout(config.dropout)]
    head = nn.Sequential(*layers, nn.LazyLinear(classes))
    network = (
        mobilenet(config.alpha, pool, head)
        if config.backbone == "mobilenet"
        else inception(pool, head)
    )
    with torch.no_grad():  # the head's inputs get counted
        network.eval()(torch.zeros(1, 3, config.image_size, config.image_size))
    return network.to(memory_format=torch.channels_last)


def batches(folder: Path, config: TrialConfig, *, shuffle: bool) -> DataLoader:
    """Load images from 0 to 1 and labels, decoded by processes in every epoch."""
    side = config.image_size
    changes = transforms.Compose([transforms.Resize((side, side)), transforms.ToTensor()])
    return DataLoader(
        ImageFolder(folder, changes),
        config.batch_size,
        shuffle,
        num_workers=os.cpu_count() or 1,
        persistent_workers=True,
    )


def accuracy(network: nn.Module, data: DataLoader) -> float:
    """Compute the share of images that the network classifies correctly."""
    network.eval()
    right = count = 0
    with torch.inference_mode():
        for x, y in data:
            guess = network(x.to(memory_format=torch.channels_last)).argmax(1)
            right, count = right + int((guess == y).sum()), count + len(y)
    return right / count


def epoch(network: nn.Module, data: DataLoader, optimizer: torch.optim.Adam, grid: Grid) -> float:
    """Train one pass over the images, and return the mean loss of a batch."""
    loss_of: Callable[..., torch.Tensor] = nn.CrossEntropyLoss()
    network.train()
    total = 0.0
    for x, y in data:
        optimizer.zero_grad()
        loss = loss_of(network(x.to(memory_format=torch.channels_last)), y)
        loss.backward()
        optimizer.step()
        total += loss.item()
        grid.steps += 1
    return total / len(data)


def train(configs: list[TrialConfig], images: Path, grid: Grid) -> None:
    """Train the variants one after the other."""
    torch.manual_seed(0)
    parts = ("train", "val", "test")
    data, val, test = (batches(images / p, configs[0], shuffle=p == "train") for p in parts)
    for config in configs:
        network = built(config, len(data.dataset.classes))  # type: ignore[attr-defined]
        optimizer = torch.optim.Adam(network.parameters(), config.lr)
        grid.begin()
        for _ in range(config.epochs):
            loss = epoch(network, data, optimizer, grid)
            accuracy(network, val)
            grid.epoch(loss)
        grid.test_accuracy.append(accuracy(network, test))


if __name__ == "__main__":
    answer(train)
