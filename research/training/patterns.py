"""Regular expressions that choose leaves of a tree by their path, as `encoder/Dense_0/kernel`."""

import re
from collections.abc import Iterable
from typing import Any

import jax

from research.errors import InputError


def path_name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def check_expressions(where: str, patterns: Iterable[str]) -> None:
    """Raises InputError where one of the patterns, which `where` has, is no regular expression."""
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise InputError(f"{where}: {pattern!r} is no regular expression: {error}") from error


def check_found(where: str, patterns: Iterable[str], trees: Iterable[Any]) -> None:
    """Raises InputError where a pattern, which `where` has, is in no leaf's path in any tree."""
    leaves = [leaf for tree in trees for leaf in jax.tree_util.tree_leaves_with_path(tree)]
    names = [path_name(path) for path, _ in leaves]
    for pattern in patterns:
        if not any(re.search(pattern, name) for name in names):
            raise InputError(
                f"{where}: {pattern!r} is in no parameter's path; paths are {', '.join(names[:4])}"
                f"{', ...' if len(names) > 4 else ''}"
            )
