"""Adam in TensorFlow's fused kernel.

It reads and writes each weight once per step. Keras' own takes a dozen passes over the weights.
That is a seventh of an InceptionV3 step at 96 px on a CPU, and its operations are the larger part
of tracing that step (benchmarks/README.md). It also goes through tf.distribute, which keeps the
graph of each trial, and thereby its weights, forever. The reports' Keras used the fused kernel,
too. The formula is the same (Kingma and Ba 2015, before section 2.1), its rounding is not.
"""

from typing import Any

from study.training.lean_keras import keras


class FusedAdam(keras.optimizers.Adam):  # type: ignore[misc]
    """Keras' optimizer without `amsgrad`, with the same variables and config."""

    def _backend_update_step(
        self, grads: list[Any], trainable_variables: list[Any], learning_rate: Any
    ) -> None:
        import tensorflow as tf  # present only with that backend

        step = tf.cast(self.iterations + 1, tf.float32)
        hyperparameters = {
            "beta1_power": tf.pow(self.beta_1, step),
            "beta2_power": tf.pow(self.beta_2, step),
            "lr": tf.cast(learning_rate, tf.float32),
            "beta1": self.beta_1,
            "beta2": self.beta_2,
            "epsilon": self.epsilon,
        }
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            index = self._get_variable_index(variable)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.value.handle,
                m=self._momentums[index].value.handle,
                v=self._velocities[index].value.handle,
                grad=tf.cast(gradient, tf.float32),
                **hyperparameters,
            )

    def _apply_weight_decay(self, variables: list[Any]) -> None:
        for variable in variables if self.weight_decay else []:
            if self._use_weight_decay(variable):
                variable.assign_sub(variable * self.weight_decay * self.learning_rate)
