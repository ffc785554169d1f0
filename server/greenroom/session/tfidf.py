"""Term frequency times inverse document frequency, as lollms' clients ask for it: small texts, no dependency.

    tf-idf(t, d) = tf(t, d) * (ln((1 + n) / (1 + df(t))) + 1), each vector divided by its length

The formula is scikit-learn's smoothed one (TfidfVectorizer's defaults), so that stored vectors compare.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

MAX_TERMS = 4096
"""the commonest terms are kept"""
_TERM = re.compile(r"\w\w+")


def cut_text(text: str, words: int) -> list[str]:
    """Pieces of at most so many words, as they stand in the text."""
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    return [text[spans[at][0] : spans[min(at + words, len(spans)) - 1][1]] for at in range(0, len(spans), words)]


def weights(texts: Sequence[str]) -> dict[str, float]:
    """Each term's inverse document frequency, in the order of the vectors' dimensions."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(set(_terms(text)))
    kept = sorted(term for term, _ in counts.most_common(MAX_TERMS))
    return {term: math.log((1 + len(texts)) / (1 + counts[term])) + 1 for term in kept}


def vector(text: str, idf: Mapping[str, float]) -> list[float]:
    """-> ``[len(idf)]``, of length one, or all zeros where no term is known."""
    counts = Counter(_terms(text))
    raw = [counts[term] * weight for term, weight in idf.items()]
    return unit(raw)


def unit(raw: Sequence[float]) -> list[float]:
    length = math.sqrt(math.fsum(value * value for value in raw))
    return [round(value / length, 6) for value in raw] if length else [0.0] * len(raw)


def nearest(query: Sequence[float], vectors: Sequence[Sequence[float]], count: int) -> list[int]:
    """Indices of the most similar vectors, the nearest first. :raises ValueError: for vectors of another size."""
    scored = [
        (-math.fsum(a * b for a, b in zip(query, candidate, strict=True)), index)
        for index, candidate in enumerate(vectors)
    ]
    return [index for _, index in sorted(scored)[:count]]


def _terms(text: str) -> list[str]:
    return _TERM.findall(text.lower())
