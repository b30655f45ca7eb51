"""Python's search for cycles rests while modules are imported, and then goes on."""

import gc

from paddy_lightning.importing import importing


def test_imports_are_not_searched_for_cycles() -> None:
    with importing():
        assert not gc.isenabled()
        with importing():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
