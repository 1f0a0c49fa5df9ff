"""The columns of a file, found by the names of a profile, and suggestions for missing ones.

One message lists all faults of a header, with the options that would read the file.
"""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from retail_pipeline.errors import UsageError
from retail_pipeline.retail_api.source.profiles import (
    GENERIC,
    STANDARD,
    Profile,
    load_profile,
    shipped,
)

REQUIRED = ("customer_id", "ts", "amount")

_FACTORS = ("quantity", "unit_price")
_MOST_SHOWN = 10


def choose_columns(
    names: Sequence[str], profile: Profile, path: Path, *, given: Collection[str] = ()
) -> dict[str, int]:
    """Return the index of each column of a profile that a file has, by its standard name.

    Args:
        names: The names in the file.
        profile: The profile.
        path: The file, for messages.
        given: The standard names of columns that the user has named; each must be in the file.

    Raises:
        UsageError: A required column is missing, or a used one occurs twice. The message lists all
            such faults, with likely columns and a fitting profile.
    """
    found = find_columns(names, profile)
    faults = []
    for name in given:
        if name not in found:
            column = profile.columns[name][0]
            near = difflib.get_close_matches(column, names, n=1, cutoff=0.6)
            faults.append(
                f"no column {_short(column)!r}" + (f" (is {near[0]!r} meant?)" if near else "")
            )
    missing = [name for name in _missing(found, profile) if name not in given]
    faults += [f"no column {name}" for name in missing]
    plain = [_plain(name) for name in names]
    faults += [
        f"the column {_short(names[at])} twice"
        for at in dict.fromkeys(found.values())
        if plain.count(plain[at]) > 1
    ]
    if faults:
        remedies = _remedies(names, missing)
        raise UsageError(
            f"the transactions file {path} has {' and '.join(faults)}; it needs "
            f"{', '.join(REQUIRED)}; {'; '.join([*remedies, _columns_in_words(names)])}"
        )
    return found


def find_columns(names: Sequence[str], profile: Profile) -> dict[str, int]:
    """Return the index of each column of a profile that a file has, by its standard name.

    If no column has exactly a name of the profile, case, spaces and punctuation are ignored.
    Standard names must match exactly.
    """
    exact = {_plain(name): at for at, name in reversed(list(enumerate(names)))}
    alike = {_key(name): at for at, name in reversed(list(enumerate(names)))}
    found = {}
    for name, columns in profile.columns.items():
        places = [exact[column] for column in columns if column in exact]
        if not places and columns != STANDARD.columns.get(name):
            places = [alike[_key(column)] for column in columns if _key(column) in alike]
        if places:
            found[name] = places[0]
    return found


def count_known(names: Sequence[str], profile: Profile) -> int:
    """Return the number of names in a file that name a column in a profile or in common use."""
    keys = {_key(name) for name in names}
    known = (column for each in (profile, load_profile(GENERIC)) for column in _all(each))
    return len(keys & {_key(column) for column in known})


def fitting_profile(names: Sequence[str]) -> str | None:
    """Return the shipped profile that finds most columns of a file; None if none can read it."""
    merits = {}
    for name in shipped():
        profile = load_profile(name)
        found = find_columns(names, profile)
        if not list(_missing(found, profile)):
            merits[name] = (name != GENERIC and len(found) > 3, len(found))
    return max(merits, key=merits.__getitem__) if merits else None


def _missing(found: Mapping[str, int], profile: Profile) -> Iterator[str]:
    computed = profile.line_total is not None and all(name in found for name in _FACTORS)
    for name in REQUIRED:
        if name not in found and not (name == "amount" and computed):
            yield name


def _remedies(names: Sequence[str], missing: Sequence[str]) -> list[str]:
    """Return the options with which the file may be readable."""
    usual = load_profile(GENERIC).columns
    meant = {}
    for name in missing:
        keys = {_key(each): each for each in reversed(names)}
        wanted = [_key(column) for column in usual[name]]
        near = [*(key for key in wanted if key in keys)]
        near += difflib.get_close_matches(_key(name), keys, n=1, cutoff=0.8)
        if near:
            meant[name] = keys[near[0]].strip()
    profile = fitting_profile(names)
    remedies = []
    if profile is not None:
        remedies.append(f"--profile {profile} reads {load_profile(profile).about}")
    if meant and profile in (None, GENERIC):
        pairs = [f"{name}={_quoted(column)}" for name, column in meant.items()]
        pairs += [f"{name}=…" for name in missing if name not in meant]
        remedies.insert(0, f"perhaps --columns '{','.join(pairs)}'")
    return remedies or ["name its columns with --columns customer_id=…,ts=…,amount=…"]


def _columns_in_words(names: Sequence[str]) -> str:
    shown = ", ".join(_short(name) for name in names[:_MOST_SHOWN]) or "none"
    more = f", … ({len(names)})" if len(names) > _MOST_SHOWN else ""
    return f"its columns: {shown}{more}"


def _all(profile: Profile) -> Iterator[str]:
    for columns in profile.columns.values():
        yield from columns


def _plain(name: str) -> str:
    return name.strip().removeprefix("\ufeff")


def _key(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:39]}…"


def _quoted(column: str) -> str:
    return f'"{column}"' if re.search(r"[\s,]", column) else column
