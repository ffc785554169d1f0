"""The configuration: its schema, where it is read from, how it is changed and written back."""

from greenroom.config.access import changes_need_owner, public_config
from greenroom.config.foreign import Format
from greenroom.config.load import LoadedConfig, load_config
from greenroom.config.merge import Merged, merge
from greenroom.config.named import NamedConfigs
from greenroom.config.problems import ConfigError, Origin, Problem
from greenroom.config.save import save_config
from greenroom.config.schema import (
    Config,
    ContextConfig,
    GenerationConfig,
    LimitsConfig,
    LogConfig,
    OperationEntry,
    ServerConfig,
    SessionConfig,
    StoreConfig,
    TokenEntry,
    TurnConfig,
)
from greenroom.config.secrets import Secrets, read_dotenv

__all__ = [
    "Config",
    "ConfigError",
    "ContextConfig",
    "Format",
    "GenerationConfig",
    "LimitsConfig",
    "LoadedConfig",
    "LogConfig",
    "Merged",
    "NamedConfigs",
    "OperationEntry",
    "Origin",
    "Problem",
    "Secrets",
    "ServerConfig",
    "SessionConfig",
    "StoreConfig",
    "TokenEntry",
    "TurnConfig",
    "changes_need_owner",
    "load_config",
    "merge",
    "public_config",
    "read_dotenv",
    "save_config",
]
