"""Stands in for python-mecab-ko-dic, a package of nothing but a dictionary."""

from pathlib import Path

dictionary_path = Path(__file__).parent / "dictionary of Korean"
