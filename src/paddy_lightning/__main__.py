"""``python -m paddy_lightning`` is the command ``paddy``."""

from paddy_lightning.cli.paddy import script

if __name__ == "__main__":
    script()
