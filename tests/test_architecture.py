"""Imports go one way: client_app -> federation <- server_app, and nobody needs the simulation."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("federation", "client_app", "server_app", "tasks", "simulation")
MAY_IMPORT = {
    "federation": {"federation"},
    "client_app": {"client_app", "federation"},
    "server_app": {"server_app", "federation"},
    "tasks": {"tasks", "federation"},
    "simulation": set(PACKAGES),
}
# What the relay must not hold: whatever could see patients, or compute on them.
KEPT_FROM_THE_RELAY = (
    "torch",
    "torchvision",
    "monai",
    "opacus",
    "hydra",
    "client_app.data",
    "client_app.training",
    "client_app.custodian",
    "federation.models",
)


def file_of(module):
    """The file of one of our modules, or None."""
    path = ROOT.joinpath(*module.split("."))
    files = [path / "__init__.py", path.with_suffix(".py")]
    return next((file for file in files if file.is_file()), None)


def imports(source, package=""):
    """Every module that a source text imports, anywhere in it; of ``from a import b`` both a and a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{name.name}" for name in node.names)


def imports_of(file):
    relative = file.relative_to(ROOT)
    return set(imports(file.read_text(), ".".join(relative.parent.parts)))


def forbidden(file, package):
    ours = {module.split(".")[0] for module in imports_of(file)} & set(PACKAGES)
    return ours - MAY_IMPORT[package]


def closure(module):
    """All modules that importing ``module`` imports through our own files, by name."""
    found, ahead = set(), [module]
    while ahead:
        name = ahead.pop()
        parts = name.split(".")
        for whole in (".".join(parts[: end + 1]) for end in range(len(parts))):
            if whole in found:
                continue
            found.add(whole)
            file = file_of(whole)
            if file is not None:
                ahead.extend(imports_of(file))
    return found


def files():
    return [(package, file) for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize(
    ("package", "file"), files(), ids=lambda value: value if isinstance(value, str) else value.stem
)
def test_a_module_imports_nothing_that_it_must_not_know(package, file):
    assert forbidden(file, package) == set()


def test_the_relay_holds_nothing_that_sees_patients():
    needed = closure("client_app.app")
    assert {"client_app.connection", "federation.messages", "flwr.app"} <= needed
    held = {m for m in needed for kept in KEPT_FROM_THE_RELAY if m == kept or m.startswith(f"{kept}.")}
    assert held == set()


def test_an_import_across_is_caught_wherever_it_stands():
    sources = (
        "import server_app.rounds",
        "from server_app import rounds",
        "def f():\n    from server_app.rounds import run_round",
        "if x:\n    import os, server_app",
    )
    for source in sources:
        assert "server_app" in {module.split(".")[0] for module in imports(source)}
    assert set(imports("from ..training import stream", "client_app.custodian")) >= {
        "client_app.training",
        "client_app.training.stream",
    }


def test_a_closure_goes_through_our_own_modules():
    assert {"torch", "opacus", "client_app.training.gradients"} <= closure("client_app.custodian.custodian")
