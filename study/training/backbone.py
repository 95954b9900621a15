"""Build backbones, and share one between the trials of a process."""

import random
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from study.config.trial_config import fields_affecting
from study.config.trial_config import TrialConfig
from study.training import runtime
from study.training.application import build_application
from study.training.bfloat16_conv import BFloat16Conv2D
from study.training.bfloat16_conv import Float32DepthwiseConv2D
from study.training.fused_batchnorm import LayerReplacements
from study.training.fused_batchnorm import replace_batchnorm
from study.training.lean_keras import keras
from study.training.sliced_layers import SlicedDepthwiseConv2D
from study.training.sliced_layers import SlicedMaxPooling2D
from study.weights import digest_weights

CPU_BFLOAT16_LAYERS = {
    keras.layers.Conv2D: BFloat16Conv2D,
    keras.layers.DepthwiseConv2D: Float32DepthwiseConv2D,
}
JAX_GPU_LAYERS = {  # with JAX
    keras.layers.DepthwiseConv2D: SlicedDepthwiseConv2D,
    keras.layers.MaxPooling2D: SlicedMaxPooling2D,
}
# The fields that decide a backbone's graph and first weights, but for the seed of random weights
GRAPH_FIELDS = fields_affecting("backbone")


def build_backbone(config: TrialConfig, *, fused: bool) -> keras.Model:
    """Build a backbone that no other trial uses.

    Its random weights are drawn from Python's generator.

    Raises:
        StudyError: the weights cannot be had, or do not fit.
    """
    replacements = _choose_faster_layers(config) if fused else None
    backbone = replace_batchnorm(
        build_application(config), config.bn_momentum, fused=fused, others=replacements
    )
    _freeze_layers(backbone, config.trainable)
    return backbone


def reuse_backbone(config: TrialConfig) -> keras.layers.Layer:
    """Return the backbone that trials of this process share, reset to its start.

    It equals what `build_backbone` would build, but TensorFlow traces it once for all trials,
    whatever their heads. Only the trial that asked last may use it. On another backend, each trial
    gets a backbone of its own.
    """
    if keras.backend.backend() != "tensorflow":
        return build_backbone(config, fused=True)
    key = _make_key(config)
    if not _shared_backbones or _shared_backbones[0].key != key:
        clear_kept_backbone()
        state_before = random.getstate()
        backbone = build_backbone(config, fused=True)
        weights = backbone.get_weights()
        seed_draws = _count_draws_since(state_before)
        _shared_backbones.append(_SharedBackbone(key, backbone, weights, config.seed, seed_draws))
    else:
        _reset_backbone(_shared_backbones[0], config)
    return _TracedBackbone(_shared_backbones[0])


def digest_backbone(model: keras.Model) -> str:
    """Return the `study.weights.digest_weights` of a whole model's backbone."""
    (backbone,) = (
        layer for layer in model.layers if isinstance(layer, keras.Model | _TracedBackbone)
    )
    return digest_weights(backbone.get_weights())


def clear_kept_backbone() -> None:
    """Release the backbone that `reuse_backbone` keeps."""
    _shared_backbones.clear()


@dataclass
class _SharedBackbone:
    """A backbone that trials share, and what makes it new again for each of them."""

    key: tuple[Any, ...]
    backbone: keras.Model
    weights: list[NDArray[Any]]  # at the start of a trial
    seed: int  # of the weights, if they are random
    seed_draws: int  # by the backbone, before those of the head
    graphs: dict[bool, Any] = field(default_factory=dict)  # by whether they are for training


_shared_backbones: list[_SharedBackbone] = []  # one at most


class _TracedBackbone(keras.layers.Layer):  # type: ignore[misc]
    """A layer that calls the graphs of a shared backbone."""

    def __init__(self, shared_backbone: _SharedBackbone) -> None:
        super().__init__(name=shared_backbone.backbone.name)
        self.shared_backbone = shared_backbone
        self.backbone = shared_backbone.backbone

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:  # noqa: ARG002
        """Return the shape and type of the backbone's output."""
        return keras.KerasTensor(
            self.backbone.compute_output_shape(inputs.shape), self.compute_dtype
        )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Call the graph for training or for prediction, which is traced on first use."""
        import tensorflow as tf  # the only backend that comes here

        backbone = self.backbone
        graphs = self.shared_backbone.graphs
        is_training = bool(training)
        if is_training not in graphs:
            images = tf.TensorSpec((None, *inputs.shape[1:]), inputs.dtype)
            graphs[is_training] = tf.function(
                lambda images: backbone(images, training=is_training), input_signature=[images]
            )
        return graphs[is_training](inputs)


def _reset_backbone(shared_backbone: _SharedBackbone, config: TrialConfig) -> None:
    """Reset a shared backbone to its first weights, as if it were built anew.

    It also draws the seeds that building it would draw, so that those of the head are the same.
    """
    state_before = random.getstate()
    if config.weights == "none" and config.seed != shared_backbone.seed:
        shared_backbone.weights = build_application(config).get_weights()
        shared_backbone.seed = config.seed
    shared_backbone.backbone.set_weights(shared_backbone.weights)
    random.setstate(state_before)
    for _ in range(shared_backbone.seed_draws):
        _draw_seed()


def _choose_faster_layers(config: TrialConfig) -> LayerReplacements | None:
    """Return the layers that replace Keras' own for speed on this process' device."""
    has_gpu = runtime.is_on_gpu()
    if keras.backend.backend() == "jax":
        return JAX_GPU_LAYERS if has_gpu else None
    return None if has_gpu or config.precision != "mixed_bfloat16" else CPU_BFLOAT16_LAYERS


def _make_key(config: TrialConfig) -> tuple[Any, ...]:
    """Return what trials must have in common to share a backbone."""
    file = Path(config.weights)
    modified_ns = file.stat().st_mtime_ns if file.is_file() else 0
    return (*(getattr(config, name) for name in GRAPH_FIELDS), modified_ns)


def _count_draws_since(state_before: Any) -> int:
    """Count the seeds that Keras has drawn since Python's generator had a given state."""
    state_now = random.getstate()
    count = 0
    random.setstate(state_before)
    while random.getstate() != state_now:
        _draw_seed()
        count += 1
    return count


def _draw_seed() -> None:
    """Draw a seed as each layer with weights does when it is made."""
    keras.initializers.GlorotUniform()


def _freeze_layers(backbone: keras.Model, trainable: float) -> None:
    """Freeze all but a share of the layers with weights, counted from the output."""
    layers = [layer for layer in backbone.layers if layer.weights]
    for layer in layers[: len(layers) - round(trainable * len(layers))]:
        layer.trainable = False  # batch normalization then keeps and uses its moving averages
