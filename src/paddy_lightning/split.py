"""Which pictures validate: the column ``is_valid`` of a table."""

import pandas as pd


def random_split(table: pd.DataFrame, valid_share: float = 0.2, seed: int = 42) -> pd.DataFrame:
    """fastai's ``RandomSplitter``: the same pictures validate for the same seed and order.

    Args:
        table: One row a picture, in the order of its files.
        valid_share: Of the pictures, rounded down, at least one picture.
        seed: Of the permutation, apart from a run's ``seed``.

    Returns:
        A copy of ``table`` with the boolean column ``is_valid``.
    """
    import torch  # slow to import: not for those who only read a table

    order = torch.randperm(len(table), generator=torch.Generator().manual_seed(seed)).numpy()
    valid = order[: max(1, int(valid_share * len(table)))]
    is_valid = pd.Series(False, index=range(len(table)))
    is_valid.iloc[valid] = True
    return table.assign(is_valid=is_valid.to_numpy())
