"""The name of every model and its class, one line each; classes are imported when asked for."""

from __future__ import annotations

import importlib

from torch import nn

from attlas.errors import ConfigError, nearest

MODELS = {
    "popularity": "Popularity",
    "itemknn": "ItemKNN",
    "ease": "EASE",
    "slim": "SLIM",
    "ials": "IALS",
    "mf": "MF",
    "biased_mf": "BiasedMF",
    "delf": "DELF",
}


def model_class(name: str) -> type[nn.Module]:
    """The class of a model by its name, which is also the stem of its file.

    Raises:
        ConfigError: no model has that name.
    """
    if name not in MODELS:
        raise ConfigError(f"no model is called {name!r}; {nearest(name, MODELS)}")
    found: type[nn.Module] = getattr(importlib.import_module(f"attlas.models.{name}"), MODELS[name])
    return found
