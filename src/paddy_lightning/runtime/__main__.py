"""``python -m paddy_lightning.runtime MODEL IMAGES``: predictions without torch."""

import argparse
import sys
from pathlib import Path

from paddy_lightning.errors import UserError
from paddy_lightning.lettering import printable
from paddy_lightning.runtime.model import Model
from paddy_lightning.runtime.predict import find_pictures, predict_files, write_predictions

TOP = 3  # classes that are told of a single picture


def main() -> None:
    """Predict, print the likeliest classes of a single picture, and write the table.

    Raises:
        SystemExit: 1 or 2 after a mistake, which is told.
    """
    parser = argparse.ArgumentParser("python -m paddy_lightning.runtime", description=__doc__)
    parser.add_argument("model", type=Path, help="the file that paddy export wrote")
    parser.add_argument("images", type=Path, help="a picture or a folder")
    parser.add_argument("--output", type=Path, help="such as predictions.csv; without: no table")
    told = parser.parse_args()
    try:
        model = Model(told.model)
        root, files = find_pictures(told.images)
        probabilities, problems = predict_files(model, root, files)
        for problem in problems:
            print(f"warning: {problem}", file=sys.stderr)
        if len(files) == 1 and not problems:
            (shares,) = probabilities
            best = shares.argsort()[::-1][:TOP]
            print("  ".join(f"{printable(model.class_names[n])} {shares[n]:.4f}" for n in best))
        if told.output:
            write_predictions(told.output, files, probabilities, model.class_names)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
