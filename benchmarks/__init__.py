"""Measured side by side: this project, fastai, Kornia in sequence, and the bare model."""
