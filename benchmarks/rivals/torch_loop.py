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

from benchmarks.rivals.job import Grid
from benchmarks.rivals.job import run_job
from study.config.trial_config import TrialConfig

# filters and stride of each pair of convolutions, as in keras.applications.MobileNet
PAIRS = [
    *[(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)],
    *[(512, 1)] * 5,
    *[(1024, 2), (1024, 1)],
]


def make_convolution(
    channels: int, filters: int, kernel: int, stride: int, groups: int = 1
) -> list[nn.Module]:
    """Make a convolution with batch normalization and bounded ReLU."""
    layer = nn.Conv2d(
        channels, filters, kernel, stride, padding=kernel // 2, groups=groups, bias=False
    )
    return [layer, nn.BatchNorm2d(filters), nn.ReLU6(inplace=True)]


def build_mobilenet(alpha: float, pool: nn.Module, head: nn.Module) -> nn.Module:
    """Build MobileNet v1, which torchvision lacks."""
    channels = int(32 * alpha)
    layers = make_convolution(3, channels, 3, 2)
    for full_filters, stride in PAIRS:
        filters = int(full_filters * alpha)
        layers += make_convolution(channels, channels, 3, stride, groups=channels)
        layers += make_convolution(channels, filters, 1, 1)
        channels = filters
    return nn.Sequential(*layers, pool, head)


def build_inception(pool: nn.Module, head: nn.Module) -> nn.Module:
    """Build torchvision's InceptionV3 with another pooling layer and head."""
    network = inception_v3(weights=None, aux_logits=False, init_weights=False)
    network.avgpool = pool
    network.dropout = nn.Identity()
    network.fc = head
    return network


def build_network(config: TrialConfig, classes: int) -> nn.Module:
    """Build the network of a config, channels last, without the softmax.

    The loss contains the softmax.
    """
    pool = nn.AdaptiveAvgPool2d(1) if config.head == "gap" else nn.Identity()
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(config.hidden_layers):
        layers += [nn.LazyLinear(config.dense_units), nn.ReLU(), nn.Dropout(config.dropout)]
    head = nn.Sequential(*layers, nn.LazyLinear(classes))
    network = (
        build_mobilenet(config.alpha, pool, head)
        if config.backbone == "mobilenet"
        else build_inception(pool, head)
    )
    with torch.no_grad():  # a first call, in which the lazy layers count their inputs
        network.eval()(torch.zeros(1, 3, config.image_size, config.image_size))
    return network.to(memory_format=torch.channels_last)


def make_loader(folder: Path, config: TrialConfig, *, shuffle: bool) -> DataLoader:
    """Load images (0 to 1) and labels, which worker processes decode in every epoch."""
    side = config.image_size
    changes = transforms.Compose([transforms.Resize((side, side)), transforms.ToTensor()])
    return DataLoader(
        ImageFolder(folder, changes),
        config.batch_size,
        shuffle,
        num_workers=os.cpu_count() or 1,
        persistent_workers=True,
    )


def measure_accuracy(network: nn.Module, data: DataLoader) -> float:
    """Compute the share of images that the network classifies correctly."""
    network.eval()
    right = 0
    count = 0
    with torch.inference_mode():
        for x, y in data:
            predicted = network(x.to(memory_format=torch.channels_last)).argmax(1)
            right += int((predicted == y).sum())
            count += len(y)
    return right / count


def train_epoch(
    network: nn.Module, data: DataLoader, optimizer: torch.optim.Adam, grid: Grid
) -> float:
    """Train for one pass over the images, and return the mean loss of a batch."""
    compute_loss: Callable[..., torch.Tensor] = nn.CrossEntropyLoss()
    network.train()
    total = 0.0
    for x, y in data:
        optimizer.zero_grad()
        loss = compute_loss(network(x.to(memory_format=torch.channels_last)), y)
        loss.backward()
        optimizer.step()
        total += loss.item()
        grid.steps += 1
    return total / len(data)


def train_variants(configs: list[TrialConfig], images: Path, grid: Grid) -> None:
    """Train the variants one after the other."""
    torch.manual_seed(0)
    data = make_loader(images / "train", configs[0], shuffle=True)
    val = make_loader(images / "val", configs[0], shuffle=False)
    test = make_loader(images / "test", configs[0], shuffle=False)
    for config in configs:
        network = build_network(config, len(data.dataset.classes))
        optimizer = torch.optim.Adam(network.parameters(), config.lr)
        grid.begin_variant()
        for _ in range(config.epochs):
            loss = train_epoch(network, data, optimizer, grid)
            measure_accuracy(network, val)
            grid.add_epoch(loss)
        grid.test_accuracy.append(measure_accuracy(network, test))


if __name__ == "__main__":
    run_job(train_variants)
