"""Kaggle: files from there, and submissions to it."""
