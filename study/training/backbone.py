"""The backbones of keras.applications, with their weights, as this study trains them."""

import random
import warnings
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import keras
from numpy.typing import NDArray

from study.common.errors import StudyError
from study.config import BACKBONES
from study.config import TrialConfig
from study.training import runtime
from study.training.bfloat16_conv import BFloat16Conv2D
from study.training.bfloat16_conv import Float32DepthwiseConv2D
from study.training.fused_batchnorm import Layers
from study.training.fused_batchnorm import with_norm
from study.training.sliced_layers import SlicedDepthwiseConv2D
from study.training.sliced_layers import SlicedMaxPooling2D
from study.weights import digest_weights
from study.weights import published

APPLICATIONS = {
    "mobilenet": keras.applications.MobileNet,
    "inception_v3": keras.applications.InceptionV3,
    "xception": keras.applications.Xception,
    "resnet50": keras.applications.ResNet50,
    "vgg16": keras.applications.VGG16,
}
IN_BFLOAT16_ON_CPU = {
    keras.layers.Conv2D: BFloat16Conv2D,
    keras.layers.DepthwiseConv2D: Float32DepthwiseConv2D,
}
ON_A_GPU = {  # with JAX
    keras.layers.DepthwiseConv2D: SlicedDepthwiseConv2D,
    keras.layers.MaxPooling2D: SlicedMaxPooling2D,
}
# what a backbone's graph and first weights depend on, but for the seed of random ones
PARTS = (
    "backbone",
    "alpha",
    "weights",
    "bn_momentum",
    "trainable",
    "image_size",
    "precision",
)


def fresh(config: TrialConfig, *, fused: bool) -> keras.Model:
    """A backbone of its own, which draws its random weights from Python's generator.

    Raises:
        StudyError: the weights cannot be had, or do not fit.
    """
    others = _faster_layers(config) if fused else None
    backbone = with_norm(_published(config), config.bn_momentum, fused=fused, others=others)
    _freeze(backbone, config.trainable)
    return backbone


def shared(config: TrialConfig) -> keras.layers.Layer:
    """As `fresh`, but of all trials of a process, of which only the last one's is of use.

    TensorFlow then traces it once for all of them, whatever their heads.
    """
    if keras.backend.backend() != "tensorflow":
        return fresh(config, fused=True)
    key = _key(config)
    if not _kept or _kept[0].key != key:
        forget()
        before = random.getstate()
        backbone = fresh(config, fused=True)
        _kept.append(_Kept(key, backbone, backbone.get_weights(), _draws_since(before)))
    else:
        before, kept = random.getstate(), _kept[0]
        others = config.weights == "none"  # random ones, for each seed
        kept.backbone.set_weights(_published(config).get_weights() if others else kept.weights)
        random.setstate(before)
        for _ in range(kept.draws):
            _draw()
    return _Traced(_kept[0])


def digest(model: keras.Model) -> str:
    """Return the `study.weights.digest_weights` of a whole model's backbone."""
    (inner,) = (layer for layer in model.layers if isinstance(layer, keras.Model | _Traced))
    return digest_weights(inner.get_weights())


def forget() -> None:
    """Let go of what `shared` keeps."""
    _kept.clear()


@dataclass(frozen=True)
class _Kept:
    key: tuple[Any, ...]
    backbone: keras.Model
    weights: list[NDArray[Any]]  # at the start of a trial
    draws: int  # of seeds, before those of the head
    graphs: dict[bool, Any] = field(default_factory=dict)  # for training, and for prediction


_kept: list[_Kept] = []  # one at most


class _Traced(keras.layers.Layer):  # type: ignore[misc]
    """A backbone that calls the graph that is kept of it."""

    def __init__(self, kept: _Kept) -> None:
        super().__init__(name=kept.backbone.name)
        self.kept, self.backbone = kept, kept.backbone

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:  # noqa: ARG002
        return keras.KerasTensor(
            self.backbone.compute_output_shape(inputs.shape), self.compute_dtype
        )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        import tensorflow as tf  # the only backend that comes here

        backbone, graphs, trains = self.backbone, self.kept.graphs, bool(training)
        if trains not in graphs:
            images = tf.TensorSpec((None, *inputs.shape[1:]), inputs.dtype)
            graphs[trains] = tf.function(
                lambda images: backbone(images, training=trains), input_signature=[images]
            )
        return graphs[trains](inputs)


def _faster_layers(config: TrialConfig) -> Layers | None:
    """What takes the place of Keras' layers for speed, where this process computes."""
    gpu = runtime.on_gpu()
    if keras.backend.backend() == "jax":
        return ON_A_GPU if gpu else None
    return None if gpu or config.precision != "mixed_bfloat16" else IN_BFLOAT16_ON_CPU


def _key(config: TrialConfig) -> tuple[Any, ...]:
    file = Path(config.weights)
    written = file.stat().st_mtime_ns if file.is_file() else 0
    return (*(getattr(config, name) for name in PARTS), written)


def _draws_since(before: Any) -> int:
    """How many seeds Keras has drawn since Python's generator was in that state."""
    after, count = random.getstate(), 0
    random.setstate(before)
    while random.getstate() != after:
        _draw()
        count += 1
    return count


def _draw() -> None:
    keras.initializers.GlorotUniform()  # as each layer with weights does when it is made


def _freeze(backbone: keras.Model, trainable: float) -> None:
    """Leave that share of the layers with weights trainable, counted from the output."""
    layers = [layer for layer in backbone.layers if layer.weights]
    for layer in layers[: len(layers) - round(trainable * len(layers))]:
        layer.trainable = False  # batch normalization then keeps and uses its moving averages


def _published(config: TrialConfig) -> keras.Model:
    shape = (config.image_size, config.image_size, 3)
    options: dict[str, Any] = {"include_top": False, "input_shape": shape}
    if config.backbone == "mobilenet":
        options["alpha"] = config.alpha
    weights = None if config.weights == "none" else config.weights
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MobileNet warns of sizes other than 128 to 224
            model = APPLICATIONS[config.backbone](weights=weights, **options)
    except Exception as error:
        raise StudyError(_weights_problem(config, error)) from error
    if config.weights == "imagenet":
        _check_download(config, model)
    return model


def _check_download(config: TrialConfig, model: keras.Model) -> None:
    """Compare what Keras downloaded with the published weights, where they are known.

    Raises:
        StudyError: they differ.
    """
    known = published(config.backbone, config.alpha)
    if known is None or digest_weights(model.get_weights()) == known.digest:
        return
    title = BACKBONES[config.backbone].title
    raise StudyError(
        f"Keras' ImageNet weights of {title} are not the published ones: delete their file in the "
        "models folder of ~/.keras (or KERAS_HOME),\nso that Keras downloads them again, or name "
        "the file as what it is: --weights FILE"
    )


def _weights_problem(config: TrialConfig, error: Exception) -> str:
    title = BACKBONES[config.backbone].title
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    if config.weights == "imagenet":
        return (
            f"cannot fetch Keras' ImageNet weights of {title}: {reason}\n"
            "Connect to the network once, give a weights file (--weights FILE), or train from "
            "scratch (--weights none)."
        )
    return f"weights file {config.weights} does not fit {title}: {reason}"
