"""The backbones: what a config needs to know of each Keras application."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Backbone:
    """The properties of a Keras application that a config needs."""

    title: str  # its name in tables
    min_image_size: int  # pixels, the least that `include_top=False` accepts
    # MD5 of the published `no_top` files, from the source code of keras.applications
    published_md5: tuple[str, ...] = ()
    has_batchnorm: bool = True


BACKBONES = {
    "mobilenet": Backbone("MobileNet", 32, ("f313cee49f5d33dfb06f2b255c4adb64",)),
    "inception_v3": Backbone("InceptionV3", 75, ("bcbd6486424b2319ff4ef7d526e38f63",)),
    "xception": Backbone("Xception", 71, ("b0042744bf5b25fce3cb969f33bebb97",)),
    "resnet50": Backbone("ResNet50", 32, ("4d473c1dd8becc155b73f8504c6f6626",)),
    "vgg16": Backbone("VGG16", 32, ("6d6bbae143d832006294945121d1f1fc",), has_batchnorm=False),
}
MOBILENET_ALPHAS = (0.25, 0.5, 0.75, 1.0)
