"""Out of Python: a run as one ONNX file that takes pictures, and the proof that it is the same."""
