"""Moments, days, times of day, durations: ISO 8601 on the wire, with the name of the time zone if it has one."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from greenroom.errors import TypeMismatch
from greenroom.types.codec import Codec, ExtType, extension, given
from greenroom.types.spec import TypeSpec
from greenroom_core.values import Ext, Plain, unpack

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore


class TimeCodec(Codec):
    """One of the four classes of `datetime`."""

    natives = frozenset({int(Ext.TIME)})

    def __init__(self, of: type) -> None:
        self.of, self.name = of, of.__name__
        self.classes = (of,)

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """`[kind, text]`, and the zone's name."""
        if not isinstance(obj, self.of) or (self.of is dt.date and isinstance(obj, dt.datetime)):
            raise TypeMismatch(self.name, given(obj))
        return time_to_plain(obj)

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The time that the text says."""
        if type(plain) is ExtType and plain.code == Ext.TIME:
            found = time_from_plain(plain)
            if type(found) is self.of:
                return found
            raise TypeMismatch(self.name, given(found))
        return self.otherwise(plain, store)

    def describe(self) -> TypeSpec:
        """The type as plain data."""
        return TypeSpec(self.name, self.name)

    def from_json(self, json: Any) -> Any:
        """The time that a string says; a number of seconds for a duration, or since the epoch for a moment."""
        if isinstance(json, str):
            return self.from_text(json)
        if type(json) in (int, float) and self.of is dt.timedelta:
            return dt.timedelta(seconds=json)
        if type(json) in (int, float) and self.of is dt.datetime:
            return dt.datetime.fromtimestamp(json, dt.UTC)
        raise TypeMismatch(self.name, given(json))

    def from_text(self, text: str) -> Any:
        """The time that somebody typed."""
        try:
            return _READERS[self.of](text.strip())
        except (ValueError, OverflowError):
            raise TypeMismatch(self.name, repr(text), f"write {_EXAMPLES[self.of]}") from None


def time_to_plain(obj: Any) -> Plain:
    """The extension that stands for a datetime, date, time or timedelta."""
    if isinstance(obj, dt.timedelta):
        microseconds = (obj.days * 86_400 + obj.seconds) * 1_000_000 + obj.microseconds
        return extension(Ext.TIME, ["timedelta", str(microseconds)])
    if isinstance(obj, dt.datetime):
        # Unbound: subclasses (pandas.Timestamp) write more digits than the standard reads.
        parts = ["datetime", dt.datetime.isoformat(obj)]
    elif isinstance(obj, dt.date):
        return extension(Ext.TIME, ["date", obj.isoformat()])
    else:
        parts = ["time", obj.isoformat()]
    zone = _zone_name(obj.tzinfo)
    return extension(Ext.TIME, [*parts, zone] if zone else parts)


def time_from_plain(plain: Any) -> Any:
    """The inverse of `time_to_plain`."""
    kind, text, *zone = unpack(plain.data)
    if kind == "timedelta":
        return dt.timedelta(microseconds=int(text))
    if kind == "date":
        return dt.date.fromisoformat(text)
    found = dt.datetime.fromisoformat(text) if kind == "datetime" else dt.time.fromisoformat(text)
    return _in_zone(found, zone[0]) if zone else found


def _zone_name(zone: Any) -> str | None:
    """The name of a zone with rules (`zoneinfo`, pytz); None for a fixed offset, which the text says already."""
    if zone is None or isinstance(zone, dt.timezone):
        return None
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)
    return name if isinstance(name, str) else None


def _in_zone(found: Any, name: str) -> Any:
    """The same moment in the zone of that name; at its fixed offset where this host does not know the zone."""
    from zoneinfo import ZoneInfo

    try:
        zone = ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return found
    if not isinstance(found, dt.datetime):
        return found.replace(tzinfo=zone)
    first = found.replace(tzinfo=zone)
    return first if first.utcoffset() == found.utcoffset() else first.replace(fold=1)


# As people type them ------------------------------------------------------------------------------------------------

_EXAMPLES: Final[Mapping[type, str]] = {
    dt.datetime: "2026-03-01T12:30:00+01:00, 2026-03-01, or now",
    dt.date: "2026-03-01, or today",
    dt.time: "12:30 or 12:30:15",
    dt.timedelta: "90s, 1h30m, 2 days, 1:30:00 or PT1H",
}


def _datetime(text: str) -> dt.datetime:
    if text.lower() == "now":
        return dt.datetime.now()
    if text.lower() == "today":
        return dt.datetime.combine(dt.date.today(), dt.time())
    return dt.datetime.fromisoformat(text)


def _date(text: str) -> dt.date:
    if text.lower() in ("today", "now"):
        return dt.date.today()
    moment = dt.datetime.fromisoformat(text)
    if moment.time() != dt.time():
        raise ValueError(text)
    return moment.date()


_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1, "ms": 0.001, "us": 0.000_001, "µs": 0.000_001}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zµ]+)")
_CLOCK: Final = re.compile(r"(?:(\d+)\s*(?:days?,?|d)?\s+)?(\d+):(\d{2})(?::(\d{2}(?:\.\d+)?))?")
_ISO: Final = re.compile(r"p(?:(\d+)w)?(?:(\d+)d)?(?:t(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?)?")


def _timedelta(text: str) -> dt.timedelta:
    sign = -1 if text.startswith("-") else 1
    word = text.lstrip("+-").strip().lower()
    return sign * dt.timedelta(seconds=_seconds(word))


def _seconds(word: str) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", word):
        return float(word)
    if clock := _CLOCK.fullmatch(word):
        days, hours, minutes, seconds = (float(part or 0) for part in clock.groups())
        return days * 86_400 + hours * 3600 + minutes * 60 + seconds
    if len(word) > 1 and (iso := _ISO.fullmatch(word)) and any(iso.groups()):
        return sum(float(part or 0) * size for part, size in zip(iso.groups(), _ISO_SIZES, strict=True))
    total, end = 0.0, 0
    for match in _PART.finditer(word):
        if word[end : match.start()].strip(" ,"):
            raise ValueError(word)
        total, end = total + float(match[1]) * _unit(match[2]), match.end()
    if not end or word[end:].strip():
        raise ValueError(word)
    return total


_ISO_SIZES: Final = (604_800, 86_400, 3600, 60, 1)
_WORDS: Final = {"week": "w", "day": "d", "hour": "h", "hr": "h", "minute": "m", "min": "m", "second": "s", "sec": "s"}


def _unit(word: str) -> float:
    short = word if word in _UNITS else _WORDS.get(word.removesuffix("s"))
    if short is None:
        raise ValueError(word)
    return _UNITS[short]


_READERS: Final[Mapping[type, Callable[[str], Any]]] = {
    dt.datetime: _datetime,
    dt.date: _date,
    dt.time: dt.time.fromisoformat,
    dt.timedelta: _timedelta,
}
