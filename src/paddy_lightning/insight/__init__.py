"""Looking: at data before training, at a run after it, at several side by side."""
