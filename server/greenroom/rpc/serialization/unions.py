"""One of several types, tried in the order of their declaration, the first that takes the value wins.

Three looks ahead keep that fast and unambiguous: only the alternatives that can read the JSON class at hand are tried;
an int is read as int before float; and of several records the one with exactly the fields at hand comes first, even if
declared later, because a record also takes unknown fields and would swallow its neighbour.

Of several records only the first is written without a tag: two may have the same fields.
"""

from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any

from greenroom.rpc.serialization.context import Definitions, Run
from greenroom.rpc.serialization.failures import AtPath, WrongValue, expected, shown
from greenroom.rpc.serialization.handler import JSON_TYPES, Handler, RecordHandler, RecursiveHandler, TextForm
from greenroom.rpc.serialization.names import full_name

REASON_SHOWN = 300
_FAILED = object()


class UnionHandler(Handler):
    def __init__(self, alternatives: Sequence[Handler]) -> None:
        self.alternatives = alternatives
        self.name = " | ".join(handler.name for handler in alternatives)
        present = [handler for handler in alternatives if not _is_none(handler)]
        self.reads = tuple(kind for kind in JSON_TYPES if any(kind in handler.reads for handler in alternatives))
        self.is_nullable = any(handler.is_nullable for handler in alternatives)
        self.is_primitive = bool(present) and all(handler.is_primitive for handler in present)
        forms = [handler.text for handler in present]
        if all(form is not None for form in forms):
            self.text = self._text_form([form for form in forms if form is not None])
        if len(present) == 1:
            self._make_optional(present[0])
        else:
            self.encode = self._encoder(present)
            self.decode = self._decoder(present)

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        return {"anyOf": [handler.schema(definitions) for handler in self.alternatives]}

    def _make_optional(self, inner: Handler) -> None:
        self.exact = inner.exact
        write, read = inner.encode, inner.decode

        def encode(value: Any, run: Run) -> Any:
            return None if value is None else write(value, run)

        def decode(value: Any, run: Run) -> Any:
            return None if value is None else read(value, run)

        self.encode = encode
        self.decode = decode

    def _encoder(self, present: Sequence[Handler]) -> Callable[[Any, Run], Any]:
        nullable = self.is_nullable
        plain = {handler.exact for handler in present if handler.exact is not None}
        records = [record for handler in present if (record := _record(handler)) is not None]
        tags = {record.declared: record for record in reversed(records)}
        untagged = records[0].declared if records else None

        def encode(value: Any, run: Run) -> Any:
            if value is None and nullable:
                return None
            if type(value) in plain:
                return value
            done = self._first(present, "encode", value, run)
            kind = type(value)
            if kind in tags and kind is not untagged and type(done) is dict and "@subtype" not in done:
                done["@type"] = tags[kind].kind
                done["@subtype"] = full_name(kind)
            return done

        return encode

    def _decoder(self, present: Sequence[Handler]) -> Callable[[Any, Run], Any]:
        nullable = self.is_nullable
        table = {kind: _in_order(present, kind) for kind in JSON_TYPES if kind is not NoneType}

        def decode(value: Any, run: Run) -> Any:
            if value is None and nullable:
                return None
            candidates: Sequence[Handler] = table.get(type(value), ())
            if len(candidates) == 1:
                return candidates[0].decode(value, run)
            if type(value) is dict:
                candidates = _best_fit(candidates, value)
                return self._remembered(candidates, value, run)
            if type(value) is list:
                return self._remembered(candidates, value, run)
            return self._first(candidates, "decode", value, run)

        return decode

    def _remembered(self, candidates: Sequence[Handler], value: Any, run: Run) -> Any:
        """Nested unions would read the same part again for every alternative of every level above it: 2^depth times."""
        if run.tried is None:
            run.tried = {}
            try:
                return self._first(candidates, "decode", value, run)
            finally:
                run.tried = None
        key = (id(value), id(self))
        if key not in run.tried:
            try:
                run.tried[key] = self._first(candidates, "decode", value, run)
            except AtPath:
                run.tried[key] = _FAILED
                raise
        if run.tried[key] is _FAILED:
            raise expected(self.name, value)
        return run.tried[key]

    def _first(self, candidates: Sequence[Handler], closure: str, value: Any, run: Run) -> Any:
        depth = run.depth
        reasons: list[str] = []
        for handler in candidates:
            try:
                return getattr(handler, closure)(value, run)
            except AtPath as problem:
                run.depth = depth
                reasons.append(f"as {handler.name}: {problem}")
        refusal = expected(self.name, value)
        if len(reasons) > 1 and not isinstance(value, str | int | float):
            refusal.found += f" ({'; '.join(reasons)[:REASON_SHOWN]})"
        raise refusal

    def _text_form(self, forms: Sequence[TextForm]) -> TextForm:
        name = self.name.removesuffix(" | None")

        def write(value: Any) -> str:
            for form in forms:
                try:
                    return form.write(value)
                except AtPath:
                    continue
            raise expected(name, value)

        def read(text: str) -> Any:
            for form in forms:
                try:
                    return form.read(text)
                except ValueError as problem:
                    if len(forms) == 1:
                        raise
                    last = problem
            raise WrongValue(f"Expected {name}", f", got {shown(text)}") from last

        return TextForm(write, read)


def _is_none(handler: Handler) -> bool:
    return handler.reads == (NoneType,)


def _in_order(present: Sequence[Handler], kind: type) -> tuple[Handler, ...]:
    """Those that read this JSON class; where a class is its own JSON, that one first."""
    able = [handler for handler in present if kind in handler.reads]
    if kind is int:
        able.sort(key=lambda handler: handler.exact is not int)
    return tuple(able)


def _best_fit(candidates: Sequence[Handler], value: dict[str, Any]) -> Sequence[Handler]:
    keys = frozenset(value.keys() - {"@type", "@subtype"})
    return sorted(candidates, key=lambda handler: _fields(handler) != keys)


def _fields(handler: Handler) -> frozenset[str] | None:
    record = _record(handler)
    return record.field_names if record is not None else None


def _record(handler: Handler) -> RecordHandler | None:
    target = handler.target if isinstance(handler, RecursiveHandler) else handler
    return target if isinstance(target, RecordHandler) else None
