"""A split as a search may see it: without the rows by which its winner will be measured."""

from __future__ import annotations

import numpy as np

from attlas.data.split import Split
from attlas.errors import ConfigError


def without_test(split: Split) -> Split:
    """The same training and validation rows, no test rows, no candidates, and given rows of validation users only.

    Neither ``split.test`` nor ``split.candidates`` is read.

    Raises:
        ConfigError: there is no validation part.
    """
    if split.valid is None:
        raise ConfigError(
            f"split {split.code!r} came without a validation part, and settings are never chosen on the test part; "
            "leave [data] validation = 'none' out, put a file of validation rows beside labelled train and test files, or "
            "split another way"
        )
    nothing = split.train.take(np.zeros(0, np.int64))
    given = split.given.take(np.isin(split.given.user, split.valid.user)) if split.given is not None else None
    return Split(split.train, split.valid, nothing, split.code, given=given)
