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
    "eals": "EALS",
    "expomf": "ExpoMF",
    "fawmf": "FAWMF",
    "mf": "MF",
    "biased_mf": "BiasedMF",
    "aimf": "AIMF",
    "fism": "FISM",
    "nais": "NAIS",
    "gmf": "GMF",
    "mlp": "MLP",
    "neumf": "NeuMF",
    "cfnet_rl": "CFNetRL",
    "cfnet_ml": "CFNetML",
    "deepcf": "CFNet",
    "delf": "DELF",
    "affection": "Affection",
    "association": "Association",
    "drnet": "DRNet",
    "arl": "ARL",
    "aml": "AML",
    "dacr": "DACR",
    "linear": "Linear",
    "fm": "FM",
    "nfm": "NFM",
    "deepfm": "DeepFM",
    "afm": "AFM",
}

# The names of those that stand in the room of another: parts of a paper that are models by themselves.
ROOMS = {
    "gmf": "neumf",
    "mlp": "neumf",
    "cfnet_rl": "deepcf",
    "cfnet_ml": "deepcf",
    "affection": "drnet",
    "association": "drnet",
    "arl": "dacr",
    "aml": "dacr",
}


def stem_of(name: str) -> str:
    """The stem of a model's file, page and tests: its own name, or that of the paper that it is a part of."""
    return ROOMS.get(name, name)


def model_class(name: str) -> type[nn.Module]:
    """The class of a model by its name.

    Raises:
        ConfigError: no model has that name.
    """
    if name not in MODELS:
        raise ConfigError(f"no model is called {name!r}; {nearest(name, MODELS)}")
    found: type[nn.Module] = getattr(importlib.import_module(f"attlas.models.{stem_of(name)}"), MODELS[name])
    return found
