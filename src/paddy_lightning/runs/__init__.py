"""What a run leaves, and whoever comes later finds again."""
