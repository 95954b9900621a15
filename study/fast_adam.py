"""Adam in TensorFlow's fused kernel, which reads and writes each weight once per step.

Keras' own takes a dozen passes over the weights, which is a seventh of an InceptionV3 step at 96 px
on a CPU (benchmarks/README.md). The formula is the same (Kingma and Ba 2015, before section 2.1);
its roundings are not, so that it is left to a precision that rounds more anyway.
"""

from typing import Any

import keras


class FusedAdam(keras.optimizers.Adam):  # type: ignore[misc]
    """Keras' optimizer without `amsgrad`, with the same variables and config."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Change one of TensorFlow's variables by its gradient."""
        import tensorflow as tf  # present only with that backend

        index, step = self._get_variable_index(variable), tf.cast(self.iterations + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, tf.float32),
        )
