"""What ``paddy export`` wrote, used without torch: onnxruntime, numpy and Pillow are enough."""
