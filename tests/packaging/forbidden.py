"""Finds calls that this program must not make, in the syntax tree of a module."""

import ast
from collections.abc import Iterator
from typing import NamedTuple

MODULES = {
    "pickle": "runs code that stands in the data",
    "cPickle": "runs code that stands in the data",
    "_pickle": "runs code that stands in the data",
    "dill": "runs code that stands in the data",
    "shelve": "runs code that stands in the data",
    "marshal": "made for the interpreter's own files",
    "telnetlib": "speaks in the clear",
    "ftplib": "speaks in the clear",
    "xml": "expands entities without end",
    "imp": "loads code from anywhere",
    "crypt": "weak hashes",
}
CALLS = {
    "eval": "runs text",
    "exec": "runs text",
    "compile": "runs text",
    "__import__": "loads what a text names",
    "os.system": "runs a shell",
    "os.popen": "runs a shell",
    "subprocess.getoutput": "runs a shell",
    "subprocess.getstatusoutput": "runs a shell",
    "tempfile.mktemp": "somebody else may take the name first",
    "yaml.load": "runs what stands in the file",
    "yaml.unsafe_load": "runs what stands in the file",
    "yaml.full_load": "runs what stands in the file",
    "ssl._create_unverified_context": "believes any server",
    "ssl.wrap_socket": "believes any server",
    "hashlib.md5": "is broken",
    "hashlib.sha1": "is broken",
    "urllib.request.urlopen": "obeys proxies and reads files",
    "logging.config.listen": "runs what it is sent",
}
KEYWORDS = {
    ("verify", False): "believes any server",
    ("check_hostname", False): "believes any server",
    ("follow_redirects", True): "carries the request to wherever the answer says",
    ("trust_env", True): "sends traffic through proxies of the environment",
    ("shell", True): "runs a shell",
    ("allow_pickle", True): "runs code that stands in the data",
    ("literal_binds", True): "writes values into SQL",
    ("echo", True): "logs statements",
    ("hide_parameters", False): "shows values in errors",
}
ATTRIBUTES = {
    "CERT_NONE": "believes any server",
    "PROTOCOL_TLSv1": "too old",
    "PROTOCOL_TLSv1_1": "too old",
}
SQL = {"text", "execute", "executemany", "exec_driver_sql", "copy", "scalar", "scalars", "DDL", "literal_column"}
"""Functions whose first argument is SQL: it must not be put together there."""


class Forbidden(NamedTuple):
    """A place in a module, what stands there, and what is wrong with it."""

    line: int
    what: str
    why: str


def find(source: str) -> Iterator[Forbidden]:
    """Look through a module."""
    tree = ast.parse(source)
    names = _imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _imports(node)
        elif isinstance(node, ast.Call):
            yield from _call(node, names)
        elif isinstance(node, ast.Attribute) and node.attr in ATTRIBUTES:
            yield Forbidden(node.lineno, node.attr, ATTRIBUTES[node.attr])
        elif isinstance(node, ast.Assign):
            yield from _assignment(node)


def _imported(tree: ast.AST) -> dict[str, str]:
    """What the module's short names stand for: `from os import system as s` is s → os.system."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update({alias.asname: alias.name for alias in node.names if alias.asname})
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return names


def _imports(node: ast.Import | ast.ImportFrom) -> Iterator[Forbidden]:
    if isinstance(node, ast.Import):
        modules = [alias.name for alias in node.names]
    else:
        modules = [] if node.level else [node.module or ""]
    for module in modules:
        top = module.partition(".")[0]
        if top in MODULES:
            yield Forbidden(node.lineno, f"import {module}", MODULES[top])


def _call(node: ast.Call, names: dict[str, str]) -> Iterator[Forbidden]:
    path = ast.unparse(node.func)
    first, dot, rest = path.partition(".")
    path = f"{names.get(first, first)}{dot}{rest}"
    if path in CALLS:
        yield Forbidden(node.lineno, path, CALLS[path])
    for keyword in node.keywords:
        value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
        for (name, bad), why in KEYWORDS.items():
            if keyword.arg == name and value is bad:
                yield Forbidden(node.lineno, f"{name}={bad}", why)
    if path.rpartition(".")[2] in SQL and node.args and _is_put_together(node.args[0]):
        yield Forbidden(node.lineno, ast.unparse(node.args[0]), "SQL that is put together")


def _assignment(node: ast.Assign) -> Iterator[Forbidden]:
    """`context.check_hostname = False` is the same as the keyword."""
    value = node.value.value if isinstance(node.value, ast.Constant) else None
    for target in node.targets:
        for (name, bad), why in KEYWORDS.items():
            if isinstance(target, ast.Attribute) and target.attr == name and value is bad:
                yield Forbidden(node.lineno, f"{name} = {bad}", why)


def _is_put_together(node: ast.expr) -> bool:
    """An f-string with a value in it, `+` or `%` with anything but two literals, or `.format` and the like."""
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        return not (isinstance(node.left, ast.Constant) and isinstance(node.right, ast.Constant))
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr in {"format", "format_map", "join", "replace"}:
            return not _quotes(node)
        # text(f"…") within execute(…) is found on its own.
        return isinstance(node.func, ast.Attribute) and node.func.attr == "encode" and _is_put_together(node.func.value)
    return False


def _quotes(node: ast.Call) -> bool:
    """Whether it is psycopg's composition, which quotes what it puts in."""
    return any(quoting in ast.unparse(node) for quoting in ("sql.SQL(", "sql.Identifier", "sql.Literal"))
