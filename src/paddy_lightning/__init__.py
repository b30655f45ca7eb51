"""Image classification with PyTorch Lightning, from a folder of photos to a submission.

The files, read in the order the data flows: ``config``, ``demo``, ``table``, ``split``,
``presize``, ``random_numbers``, ``augment``, ``datamodule``, ``model``, ``schedule``,
``classifier``, ``fine_tune``, ``training``, ``predict``.
"""

__version__ = "0.1.0"
