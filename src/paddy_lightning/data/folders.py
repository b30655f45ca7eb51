"""Folders and what they are called -> classes, and the sides of a split."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from paddy_lightning.data.listing import Listing, by_suffix, look_into, some, told
from paddy_lightning.errors import UserError

TRAIN, VALID, TEST = "train", "valid", "test"
SIDES = {TRAIN: "train on", VALID: "validate on", TEST: "predict"}
# A folder's name that says which side of a split it holds, such as Training, val_set, test-images.
SPLIT_NAME = re.compile(
    r"(?:(?:data|images?|seg)[\W_]+)?"
    r"(?:(?P<train>train(?:ing)?)|(?P<valid>val(?:id(?:ation)?)?|dev)|(?P<test>test(?:ing)?))"
    r"(?:[\W_]*(?:set|data|dataset|images?|pictures?|photos?|split))?",
    re.IGNORECASE,
)


class Labelled(NamedTuple):
    """The pictures of a folder, by what its folders are called.

    Attributes:
        table: ``file`` (relative to the folder) and ``label``, sorted by file; with ``is_valid``
            where there are trees of both sides.
        left_out: How many other files lie among them, by suffix.
        remarks: What else a user should know, a line each.
        test: The folder of pictures to predict, where there is one.
    """

    table: pd.DataFrame
    left_out: Counter[str]
    remarks: list[str]
    test: str | None = None


def labelled_table(root: Path) -> pd.DataFrame:
    """One row a picture below ``root/<label>/``, sorted by path; whatever the folders are called.

    Raises:
        UserError: No folder there.
    """
    return read_classes(root).table


def read_classes(root: Path) -> Labelled:
    """The pictures of ``root/<label>/``, whatever the folders are called.

    Raises:
        UserError: No folder there.
    """
    found = _existing(root)
    return _by_class(found, found.remarks)


def read_folders(root: Path) -> Labelled:
    """The pictures of ``root/<label>/``, or of trees such as ``root/train/<label>/``.

    Trees are known by their names, in upper or lower case. Only folders of classes make a tree to
    validate on; a test set without them, or beside such a tree, is what is to be predicted.

    Raises:
        UserError: No folder there, or trees that are not whole or not alone.
    """
    found = _existing(root)
    tops = [folder for folder in found.folders if folder and "/" not in folder]
    named = [_unwrapped(found, folder) for folder in tops if _side(folder)]
    sides = {side: _only(root, named, side) for side in (TRAIN, VALID, TEST)}
    if any(tree.classes for tree in named):
        return _read_trees(root, found, named, sides)
    loose = {_top(tree.path) for tree in named if tree.pictures}
    if loose and loose == _tops(found.pictures):
        raise UserError(
            f"{root}: {some(sorted(loose))} hold no folders of classes; put one folder a class into"
            " each, or name a table of labels with data.csv="
        )
    test = sides[TEST]
    if test is None or not test.pictures:
        return _by_class(found, found.remarks)
    said = f"{test.path}/ holds what is to be predicted, and is no class"
    others = _without(found, _top(test.path))
    return _by_class(others, [said, *found.remarks])._replace(test=test.path)


class _Tree(NamedTuple):
    """A folder whose name is that of a side of a split.

    Attributes:
        path: From the data set's folder.
        side: train, valid or test.
        classes: The folders of pictures in it.
        pictures: How many there are, in folders or not.
    """

    path: str
    side: str
    classes: set[str]
    pictures: int


def _read_trees(
    root: Path, found: Listing, named: list[_Tree], sides: dict[str, _Tree | None]
) -> Labelled:
    train, valid, test = sides[TRAIN], sides[VALID], sides[TEST]
    trees = some(tree.path for tree in named if tree.pictures)
    if beside := sorted(_tops(found.pictures) - {_top(tree.path) for tree in named}):
        raise UserError(
            f"{root}: beside the trees ({trees}) lie other folders of pictures ({some(beside)});"
            " move them into the trees as classes, or elsewhere"
        )
    if train is None or not train.classes:
        raise UserError(f"{root}: there is {trees}, but no train/CLASS/picture.jpg to train on")
    if valid is not None and not valid.classes & train.classes:
        lacks = f"no class of {train.path}/" if valid.classes else "no folders of classes"
        raise UserError(
            f"{root / valid.path}: has {lacks}, so nothing would validate; fill it or remove it"
        )
    remarks = []
    if valid is None and test is not None and test.classes & train.classes:
        valid, test = test, None
        remarks.append(
            f"{valid.path}/ validates, for want of valid/: what is chosen by its error makes that"
            " no test's any longer"
        )
    parts = [
        (tree.side != TRAIN, _by_class(_within(found, tree.path), [], f"{tree.path}/"))
        for tree in (train, valid)
        if tree
    ]
    table = pd.concat([part.table.assign(is_valid=side) for side, part in parts])
    table = table.sort_values("file", ignore_index=True)
    return Labelled(
        table if valid else table.drop(columns="is_valid"),
        sum((part.left_out for _, part in parts), Counter()),
        [*remarks, *(remark for _, part in parts for remark in part.remarks), *found.remarks],
        test.path if test and test.pictures else None,
    )


def _existing(root: Path) -> Listing:
    """``look_into`` a folder that should be there.

    Raises:
        UserError: It is not.
    """
    if not os.path.isdir(root):  # noqa: PTH112  (Path's raises where a folder above is closed)
        raise UserError(
            f"{root}: no such folder; data.root= names a folder with one folder a class"
        )
    return look_into(root)


def _side(folder: str) -> str | None:
    """Which side of a split a folder's name speaks of, if any."""
    found = SPLIT_NAME.fullmatch(folder)
    return found.lastgroup if found else None


def _unwrapped(found: Listing, folder: str) -> _Tree:
    """A tree; or the only one in it of the same side, as in ``training_set/training_set/``."""
    path, side = folder, _side(folder) or ""
    while True:
        pictures = _within(found, path).pictures
        classes = _tops(pictures)
        inner = next(iter(classes)) if len(classes) == 1 else ""
        if _side(inner) != side or not all("/" in file for file in pictures):
            return _Tree(path, side, classes, len(pictures))
        path = f"{path}/{inner}"


def _only(root: Path, named: list[_Tree], side: str) -> _Tree | None:
    """The tree of a side; one with pictures, if there are such.

    Raises:
        UserError: Several have pictures.
    """
    trees = [tree for tree in named if tree.side == side]
    filled = [tree for tree in trees if tree.pictures]
    if len(filled) > 1:
        paths = " and ".join(tree.path for tree in filled)
        raise UserError(f"{root}: {paths} are both to {SIDES[side]}; leave one of them")
    return next(iter([*filled, *trees]), None)


def _within(found: Listing, folder: str) -> Listing:
    """What lies below a folder, relative to it."""
    start = f"{folder}/"
    lists = (found.pictures, found.others, found.folders, found.runs)
    return Listing(*([n[len(start) :] for n in names if n.startswith(start)] for names in lists))


def _without(found: Listing, folder: str) -> Listing:
    """All but a folder."""
    lists = (found.pictures, found.others, found.folders, found.runs)
    return Listing(*([n for n in names if _top(n) != folder] for names in lists))


def _top(path: str) -> str:
    return path.split("/", 1)[0]


def _tops(files: Iterable[str]) -> set[str]:
    """The first folders of the files that lie in some."""
    return {_top(file) for file in files if "/" in file}


def _by_class(found: Listing, remarks: Iterable[str], start: str = "") -> Labelled:
    """What a folder of classes holds; ``start`` goes before each name."""
    files = [file for file in found.pictures if "/" in file]
    table = pd.DataFrame(
        {"file": [start + file for file in files], "label": [_top(file) for file in files]}
    )
    others = [file for file in found.others if "/" in file]
    return Labelled(table, by_suffix(others), [*_oddities(found, others, start), *remarks])


def _oddities(found: Listing, others: list[str], start: str) -> Iterator[str]:
    """What in a folder of classes is not as it should be."""
    if loose := [start + file for file in found.pictures if "/" not in file]:
        yield f"{len(loose)} pictures lie in no folder of a class: {some(loose)}"
    full = _tops(found.pictures) | _tops(found.runs)
    if empty := [name for name in found.folders if name and "/" not in name and name not in full]:
        inside = ((name, by_suffix(o for o in others if _top(o) == name)) for name in empty)
        names = some(f"{start}{name} ({told(suffixes) or 'empty'})" for name, suffixes in inside)
        yield f"{len(empty)} folders have no picture that could be read: {names}"
    inner = {parts[1] for file in found.pictures if len(parts := file.split("/", 2)) == 3}
    if len({_side(name) for name in inner} - {None}) > 1:
        splits = some(sorted(name for name in inner if _side(name)))
        yield f"folders inside of classes make no split ({splits}); their pictures are mixed"
