"""``python -m paddy_lightning`` is the command ``paddy``."""

from paddy_lightning.cli.paddy import main

if __name__ == "__main__":
    main()
