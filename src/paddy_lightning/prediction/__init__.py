"""From a trained network and pictures to probabilities and CSV files."""
