"""From a config to a run: schedule, fit, evaluation."""
