"""A program as its text declares it: modules, classes, functions and the types of their values.

Nothing is imported or run. What a name means follows from imports; what a value is, from
annotations: of parameters, results and fields, and of what `__init__` puts into `self`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

#: Written around a type without changing what its values are.
_WRAPPERS = {"Final", "ClassVar", "Annotated", "Optional", "Required", "NotRequired", "type"}


@dataclass(frozen=True)
class Type:
    """Which classes a value may have, by dotted name, and the types it is made of.

    The arguments of a callable's type are its result alone. Nothing is known without names.
    """

    names: tuple[str, ...] = ()
    args: tuple[Type, ...] = ()

    def __or__(self, other: Type) -> Type:
        return Type(tuple(dict.fromkeys(self.names + other.names)), self.args or other.args)

    @property
    def item(self) -> Type:
        """What iterating over it gives."""
        return self.args[0] if self.args else Type()


@dataclass(frozen=True)
class Function:
    """A function or method; `owner` is the dotted name of its class, empty without one."""

    module: str
    name: str
    owner: str
    node: ast.FunctionDef = field(compare=False, repr=False)

    @property
    def first(self) -> str:
        """The name that a method has for its object or class; empty for other functions."""
        is_method = self.owner and "staticmethod" not in self.decorators
        arguments = [*self.node.args.posonlyargs, *self.node.args.args]
        return arguments[0].arg if is_method and arguments else ""

    @property
    def is_property(self) -> bool:
        return bool({"property", "cached_property"} & self.decorators)

    @property
    def is_promise(self) -> bool:
        """Whether it has no body, as the methods of a Protocol."""
        return all(
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            for node in self.node.body
        )

    @property
    def decorators(self) -> set[str]:
        found = (n.func if isinstance(n, ast.Call) else n for n in self.node.decorator_list)
        return {ast.unparse(node).rsplit(".", 1)[-1] for node in found}

    @property
    def parameters(self) -> list[ast.arg]:
        """All of them in order, without the `self` or `cls` of a method."""
        given = self.node.args
        found = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
        return [argument for argument in found if argument is not None][bool(self.first) :]

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


@dataclass(frozen=True)
class Class:
    """A class; its dotted name says where it is."""

    module: str
    dotted: str
    node: ast.ClassDef = field(compare=False, repr=False)

    def methods(self) -> Iterator[ast.FunctionDef]:
        return (node for node in self.node.body if isinstance(node, ast.FunctionDef))


@dataclass(frozen=True)
class Constant:
    """A module's variable: what it is said to be, or what is put into it."""

    module: str
    annotation: ast.expr | None = field(compare=False)
    value: ast.expr | None = field(compare=False)


@dataclass(frozen=True)
class Module:
    """A module of the program, or (not `is_ours`) something of another one."""

    dotted: str
    is_ours: bool = True


Entity = Module | Class | Function | Constant


class Program:
    """The modules of a program, by dotted name."""

    def __init__(self, trees: Mapping[str, ast.Module]) -> None:
        self.trees = trees
        self._scopes = {
            name: dict([*_imports(tree), *_definitions(name, tree)]) for name, tree in trees.items()
        }
        self.method_names = {
            method.name
            for scope in self._scopes.values()
            for entity in scope.values()
            if isinstance(entity, Class)
            for method in entity.methods()
        }

    def find(self, module: str, name: str) -> Entity | None:
        """Return what a name in a module means, through any number of imports."""
        found = self._scopes.get(module, {}).get(name)
        while isinstance(found, Module) and found.is_ours and found.dotted not in self.trees:
            holder, _, name = found.dotted.rpartition(".")
            if holder not in self.trees:
                return Module(found.dotted, is_ours=False)
            found = self._scopes[holder].get(name)
        return found

    def class_of(self, dotted: str) -> Class | None:
        holder, _, name = dotted.rpartition(".")
        found = self.find(holder, name)
        return found if isinstance(found, Class) else None

    def method(self, dotted: str, name: str) -> Function | None:
        """Return a class's method, or that of the first of its bases which has one."""
        found = (one for one in self.methods_of(dotted) if one.node.name == name)
        return next(found, None)

    def methods_of(self, dotted: str) -> Iterator[Function]:
        """Yield the methods of a class, then those of its bases."""
        owner = self.class_of(dotted)
        if owner is None:
            return
        for node in owner.methods():
            yield Function(owner.module, f"{owner.node.name}.{node.name}", dotted, node)
        for base in owner.node.bases:
            for above in self.type_of(owner.module, base).names:
                yield from self.methods_of(above)

    def members_of(self, dotted: str) -> set[str]:
        """Return the names of a class's properties and fields, those of `self` included."""
        owner = self.class_of(dotted)
        if owner is None:
            return set()
        methods = list(self.methods_of(dotted))
        declared = {
            ast.unparse(node.target) for node in owner.node.body if isinstance(node, ast.AnnAssign)
        }
        properties = {method.node.name for method in methods if method.is_property}
        assigned = {
            node.attr
            for method in methods
            for node in ast.walk(method.node)
            if isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and ast.unparse(node.value) == method.first
        }
        return declared | properties | assigned

    def assignments_to(
        self, dotted: str, name: str
    ) -> Iterator[tuple[Function, ast.expr | None, ast.expr | None]]:
        """Yield method, annotation and value of each assignment to a field of `self`."""
        for method in self.methods_of(dotted):
            for node in ast.walk(method.node):
                if isinstance(node, ast.Assign):
                    targets, annotation = node.targets, None
                elif isinstance(node, ast.AnnAssign):
                    targets, annotation = [node.target], node.annotation
                else:
                    continue
                if f"{method.first}.{name}" in map(ast.unparse, targets):
                    yield method, annotation, node.value

    def declared(self, dotted: str, name: str) -> tuple[Class, ast.expr] | None:
        """Return the annotation that a class's body, or one of its bases, gives a field."""
        owner = self.class_of(dotted)
        if owner is None:
            return None
        for node in owner.node.body:
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
                return owner, node.annotation
        for base in owner.node.bases:
            for above in self.type_of(owner.module, base).names:
                if found := self.declared(above, name):
                    return found
        return None

    def type_of(self, module: str, node: ast.expr | None, owner: str = "") -> Type:
        """Return the type that an annotation names; `owner` is what `Self` stands for."""
        match node:
            case ast.Constant(value=str() as text):
                return self.type_of(module, ast.parse(text, mode="eval").body, owner)
            case ast.BinOp(op=ast.BitOr(), left=left, right=right):
                return self.type_of(module, left, owner) | self.type_of(module, right, owner)
            case ast.Subscript(value=base, slice=inner):
                return self._generic(module, base, inner, owner)
            case ast.Name() | ast.Attribute():
                return self._named(module, ast.unparse(node), owner)
        return Type()

    def _generic(self, module: str, base: ast.expr, inner: ast.expr, owner: str) -> Type:
        parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        name = ast.unparse(base).rsplit(".", 1)[-1]
        if name == "Literal":
            return Type()
        if name in _WRAPPERS:
            return self.type_of(module, parts[0], owner)
        if name == "Callable":
            return Type(("Callable",), (self.type_of(module, parts[-1], owner),))
        args = tuple(self.type_of(module, part, owner) for part in parts)
        return Type(self.type_of(module, base, owner).names, args)

    def _named(self, module: str, text: str, owner: str) -> Type:
        if text.rsplit(".", 1)[-1] == "Self":
            return Type((owner,))
        head, *rest = text.split(".")
        found = self.find(module, head)
        for name in rest:
            if not isinstance(found, Module):
                break
            found = self.find(found.dotted, name) or Module(f"{found.dotted}.{name}", False)
        match found:
            case Class(dotted=dotted):
                return Type((dotted,))
            case Constant(module=holder, value=ast.Call(func=ast.Name(id="TypeVar"))):
                return Type()
            case Constant(module=holder, value=value):
                return self.type_of(holder, value)
            case Module(dotted=dotted):
                return Type((dotted,))
        # Nothing of that name is ours: a builtin. `Any` and `object` say nothing.
        return Type() if text in ("Any", "object", "None") else Type((text,))


def _imports(tree: ast.Module) -> Iterator[tuple[str, Entity]]:
    """Yield what names are imported; those that are imported in functions count as the module's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                # `import a.b` gives the name `a`; only with `as` does it give `a.b` one.
                name = alias.asname or alias.name.split(".")[0]
                yield name, Module(alias.name if alias.asname else name)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, Module(f"{node.module}.{alias.name}")


def _definitions(module: str, tree: ast.Module) -> Iterator[tuple[str, Entity]]:
    for node in tree.body:
        match node:
            case ast.FunctionDef():
                yield node.name, Function(module, node.name, "", node)
            case ast.ClassDef():
                yield node.name, Class(module, f"{module}.{node.name}", node)
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name, Constant(module, node.annotation, node.value)
            case ast.Assign(targets=[ast.Name(id=name)]):
                yield name, Constant(module, None, node.value)
