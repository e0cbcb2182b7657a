#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One name, one type: no two files of the program define a class of the same name in the same namespace.

usage: one_definition.py ROOT
Two such classes are an error that no compiler sees: the linker keeps one of their inline destructors for both, and which
one depends on what was inlined. Nested classes and those of unnamed namespaces are free. Exit code 1 and the places where
two meet."""
import collections, pathlib, re, sys

FOLDERS = ("src", "io", "kernels", "include")
NAMESPACE = re.compile(r"(?:inline )?namespace\s*([\w:]*)\s*\{")
TYPE = re.compile(r"(?:template\s*<.*>\s*)?(?:struct|class|enum class|enum|union)\s+(?:alignas\(\w+\)\s*)?(\w+)(?:\s+final)?\s*(?::(?!:)[^;]*)?\{")


def types_of(text):
    """(namespace, name, line) of every class that is a direct member of named namespaces."""
    depth, open_namespaces = 0, []
    for number, line in enumerate(text.splitlines(), 1):
        code = re.sub(r'"(?:\\.|[^"\\])*"', '""', line.split("//")[0]).strip()
        if code.startswith("#"):
            continue
        namespace = NAMESPACE.match(code)
        if namespace:
            open_namespaces.append((depth, namespace.group(1) or "<unnamed>"))
        found = TYPE.match(code)
        names = [name for _, name in open_namespaces]
        if found and len(names) == depth and names and "<unnamed>" not in names:
            yield "::".join(names), found.group(1), number
        depth += code.count("{") - code.count("}")
        while open_namespaces and depth <= open_namespaces[-1][0]:
            open_namespaces.pop()


def main():
    root = pathlib.Path(sys.argv[1])
    places = collections.defaultdict(dict)
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".hpp", ".cpp", ".cuh", ".cu"):
                for namespace, name, number in types_of(path.read_text()):
                    places[f"{namespace}::{name}"].setdefault(path.relative_to(root), number)
    total = len(places)
    if total < 300:
        sys.exit(f"only {total} classes found under {root}: the search is broken")
    twice = {name: found for name, found in places.items() if len(found) > 1}
    for name, found in twice.items():
        print(name, *(f"  {path}:{number}" for path, number in found.items()), sep="\n")
    print(f"{total} classes, {len(twice)} names with two definitions")
    return 1 if twice else 0


sys.exit(main())
