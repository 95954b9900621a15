"""Find or download images, check, group and split them, and decode them once.

from study.data.prepare import prepare
from study.data.split import make_split

data = prepare("demo", image_size=64)
split = make_split(data, "pooled", seed=0)
x_train, y_train = data.x[split.train], data.y[split.train]
"""
