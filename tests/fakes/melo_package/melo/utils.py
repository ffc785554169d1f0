"""The configuration's keys as attributes."""

import json
from typing import Any


class HParams:
    def __init__(self, **kwargs: Any) -> None:
        for key, value in kwargs.items():
            setattr(self, key, HParams(**value) if isinstance(value, dict) else value)

    def __getattr__(self, key: str) -> Any:
        raise AttributeError(key)

    def keys(self) -> Any:
        return self.__dict__.keys()

    def items(self) -> Any:
        return self.__dict__.items()

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)

    def __contains__(self, key: str) -> bool:
        return key in self.__dict__


def get_hparams_from_file(config_path: str) -> HParams:
    with open(config_path, encoding="utf-8") as file:
        return HParams(**json.load(file))
