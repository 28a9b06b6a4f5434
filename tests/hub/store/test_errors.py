"""The store's errors: words that teach, and that cross processes."""

from __future__ import annotations

import pickle

import pytest

from greenroom_hub.store import errors

ALL = [
    errors.NotOurs("/f", "a picture"),
    errors.NewerVersion("/f", 9, 1),
    errors.OtherHistory("/f", 1, "0001_log.sql"),
    errors.Damaged("/f", "short"),
    errors.InUse("/f", 77),
    errors.InUse("/f", None),
    errors.NotWritable("/f", "full"),
    errors.NotDurable("/f", "FULL", "OFF"),
    errors.CommitFailed("/f", "full"),
    errors.ReadFailed("/f", "busy"),
    errors.OutOfOrder(3, 5),
    errors.Closed("/f"),
]


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling(error):
    """
    Every error crosses processes with its arguments and its words.
    """
    again = pickle.loads(pickle.dumps(error))

    assert (type(error), error.args, str(error)) == (type(again), again.args, str(again))


def test_every_error_is_one_of_the_stores():
    """
    Who catches the base catches all of them, and none is left out here.
    """
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type)}

    assert all(issubclass(kind, errors.StoreError) for kind in kinds)
    assert kinds - {errors.StoreError} == {type(error) for error in ALL}
