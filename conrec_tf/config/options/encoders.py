"""The networks of Keras that can embed, by name; without Keras."""

# Those with levels of half the size each, down to a stride of 32; the name is in Keras' case.
KERAS_ENCODERS = {
  name.lower(): name
  for name in (
    *("ResNet50", "ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2", "ResNet152V2"),
    *(f"EfficientNetB{number}" for number in range(8)),
    *(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")),
    *("MobileNetV2", "MobileNetV3Small", "MobileNetV3Large"),
    *(f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")),
  )
}
KERAS_STRIDE = 32  # of their features, and of DenseNet121's
KERAS_BLOCKS = 4  # beside the stem, as SimCLR counts
