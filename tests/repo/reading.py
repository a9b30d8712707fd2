"""Reads functions in the order in which a job goes through them; `road.py` has the rule."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_

from tests.repo.program import Class, Constant, Function, Module, Program, Type

#: Calls whose result is made of what an argument contains.
_SAME_ITEMS = {"list", "tuple", "set", "sorted", "reversed", "iter", "filter", "replace", "copy"}
_UNKNOWN, _ELSEWHERE = Type(), Type(("elsewhere",))


@dataclass(frozen=True)
class Value:
    """What is known of the value of an expression.

    Attributes:
        job: it is of the job.
        what: the module or class that the expression names.
        functions: those that it names, one for each class that `bound` may have.
    """

    type: Type = _UNKNOWN
    job: bool = False
    what: Module | Class | None = None
    functions: tuple[Function, ...] = ()
    bound: Value | None = None

    def __or__(self, other: Value) -> Value:
        return replace(other, type=self.type | other.type, job=self.job or other.job)


NOTHING = Value()


@dataclass(frozen=True)
class Terms:
    """What a road leads along.

    Attributes:
        job: the first function's parameter that is the job's id; None follows every call.
        ids: fields that are the job's id, by name alone or with their class (`package.Class.id`).
        below: packages whose calls are not followed.
        edge: packages whose functions are entered, and not read.
    """

    job: str | None
    ids: frozenset[str] = frozenset()
    below: tuple[str, ...] = ()
    edge: tuple[str, ...] = ()


class Reading:
    """A program, read from one function on until no further value is found to be of the job.

    Attributes:
        functions: in the order of reading, each once.
        calls: caller and callee of each call that was followed, in the same order.
        doubtful: calls that may carry the job to a method of ours: their receiver is unknown.
    """

    def __init__(self, program: Program, start: Function, terms: Terms) -> None:
        self.program = program
        self.terms = terms
        self._given: dict[Function, set[str]] = {start: {terms.job or ""}}
        self._knowing: dict[str, bool] = {}
        self._types: dict[tuple[str, str], Type] = {}
        before, known = -1, 0
        while before < known:
            self.functions: list[Function] = []
            self.calls: list[tuple[Function, Function]] = []
            self.doubtful: list[str] = []
            self._open(start)
            before, known = known, sum(map(len, self._given.values()))

    def _open(self, function: Function) -> None:
        self.functions.append(function)
        if not is_in(function.module, self.terms.edge):
            env = self.parameters_of(function)
            Reader(self, function.module, env, function).read(function.node.body)

    def parameters_of(self, function: Function) -> dict[str, Value]:
        given = self._given.get(function, set())
        types = {
            argument.arg: self.program.type_of(function.module, argument.annotation)
            for argument in function.parameters
        }
        if function.first:
            types[function.first] = Type((function.owner,))
        return {
            name: Value(found, name in given or self.is_of_job(found))
            for name, found in types.items()
        }

    def call(self, caller: Function, callee: Function, given: set[str], *, has_job: bool) -> None:
        """Follow a call if it carries the job: note it, and read what it calls, but once."""
        is_wanted = has_job or self.terms.job is None
        if not is_wanted or callee.is_promise or is_in(callee.module, self.terms.below):
            return
        self.calls.append((caller, callee))
        self._given.setdefault(callee, set()).update(given)
        if callee not in self.functions:
            self._open(callee)

    def is_id(self, owner: str, name: str) -> bool:
        return name in self.terms.ids or f"{owner}.{name}" in self.terms.ids

    def is_of_job(self, found: Type) -> bool:
        """Say whether objects of the type, or what they contain, know the job's id."""
        if "Callable" in found.names:
            return False
        return any(map(self._knows, found.names)) or any(map(self.is_of_job, found.args))

    def _knows(self, owner: str) -> bool:
        if owner not in self._knowing:
            self._knowing[owner] = False  # in case that it refers to itself
            members = self.program.members_of(owner)
            self._knowing[owner] = any(self.is_id(owner, name) for name in members) or any(
                self._knows(held)
                for name in members
                for held in self.member_type(owner, name).names
            )
        return self._knowing[owner]

    def member_type(self, owner: str, name: str) -> Type:
        """Return the type of a property, or of a field: as declared, or of what it is given."""
        key = owner, name
        if key not in self._types:
            self._types[key] = _UNKNOWN  # in case that it is made from itself
            self._types[key] = self._look_up(owner, name)
        return self._types[key]

    def _look_up(self, owner: str, name: str) -> Type:
        method = self.program.method(owner, name)
        if method is not None:
            return self.program.type_of(method.module, method.node.returns, owner)
        declared = self.program.declared(owner, name)
        if declared is not None:
            return self.program.type_of(declared[0].module, declared[1], owner)
        for method, annotation, value in self.program.assignments_to(owner, name):
            if annotation is not None:
                return self.program.type_of(method.module, annotation, owner)
            return Reader(self, method.module, self.parameters_of(method)).visit(value).type
        return _UNKNOWN


class Reader(ast.NodeVisitor):
    """Reads statements in their order, and says what their expressions are.

    Without a function it looks at types alone and follows no call.
    """

    def __init__(
        self,
        reading: Reading,
        module: str,
        env: Mapping[str, Value],
        function: Function | None = None,
    ) -> None:
        self._reading = reading
        self._program = reading.program
        self._module = module
        self._env = dict(env)
        self._function = function

    def read(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            self.visit(statement)

    def visit(self, node: ast.AST | None) -> Value:
        """Read a part; its value is of the job, too, if its class knows the job's id."""
        found: Value = NOTHING if node is None else super().visit(node)
        return replace(found, job=found.job or self._reading.is_of_job(found.type))

    def generic_visit(self, node: ast.AST) -> Value:
        """Read the parts in order; what an operator makes of them is not known."""
        for part in ast.iter_child_nodes(node):
            self.visit(part)
        return NOTHING

    # Names and fields

    def visit_Name(self, node: ast.Name) -> Value:
        return self._env.get(node.id) or self._named(self._module, node.id)

    def visit_Attribute(self, node: ast.Attribute) -> Value:
        base = self.visit(node.value)
        match base.what:
            case Module(dotted=dotted, is_ours=True):
                return self._named(dotted, node.attr)
            case Module(dotted=dotted):
                return Value(what=Module(f"{dotted}.{node.attr}", is_ours=False))
            case Class(dotted=dotted):
                base = Value(Type((dotted,)))
        return self._member(base, node.attr)

    def _named(self, module: str, name: str) -> Value:
        match self._program.find(module, name):
            case Function() as function:
                return Value(functions=(function,))
            case Constant(module=holder, annotation=annotation, value=value):
                said = self._program.type_of(holder, annotation)
                found = said if said.names else Reader(self._reading, holder, {}).visit(value).type
                return Value(found)
            case Module() | Class() as what:
                return Value(what=what)
        return Value(what=Module(name, is_ours=False))

    def _member(self, base: Value, name: str) -> Value:
        methods, types = [], []
        for owner in base.type.names:
            method = self._program.method(owner, name)
            if method is None or method.is_property:
                types.append(self._reading.member_type(owner, name))
            else:
                methods.append(method)
        return Value(
            type=reduce(or_, types, _UNKNOWN),
            job=any(self._reading.is_id(owner, name) for owner in base.type.names or [""]),
            functions=tuple(methods),
            bound=base if methods else None,
        )

    # Calls

    def visit_Call(self, node: ast.Call) -> Value:
        called = self.visit(node.func)
        given = [self.visit(argument) for argument in node.args]
        named = {keyword.arg or "": self.visit(keyword.value) for keyword in node.keywords}
        if _last_name(called) == "partial" and given:
            called, *given = given
        else:
            self._pass_on(called, [*given, *named.values()])
        if isinstance(called.what, Class):
            return self._make(called.what, given, named)
        if called.functions:
            return self._enter(called, given, named)
        if called.type.names == ("Callable",):
            return Value(called.type.item)
        if isinstance(node.func, ast.Attribute) and called.what is None:
            return self._call_unknown(node.func, [*given, *named.values()])
        return _result_elsewhere(_last_name(called), given)

    def _make(self, made: Class, given: Sequence[Value], named: Mapping[str, Value]) -> Value:
        value = Value(Type((made.dotted,)))
        value = replace(value, job=self._reading.is_of_job(value.type))
        init = self._program.method(made.dotted, "__init__")
        if init is not None:
            self._enter(Value(functions=(init,), bound=value), given, named)
        return value

    def _enter(self, called: Value, given: Sequence[Value], named: Mapping[str, Value]) -> Value:
        """Follow a call of our own into each function that may be meant."""
        values = [*given, *named.values()]
        has_job = any(value.job for value in [*values, called.bound or NOTHING])
        result = _UNKNOWN
        for function in called.functions:
            names = [argument.arg for argument in function.parameters]
            passed = [*zip(names, given, strict=False), *named.items()]
            self._follow(function, {name for name, value in passed if value.job}, has_job=has_job)
            result |= self._result_of(function, values)
        return Value(result)

    def _follow(self, function: Function, of_job: set[str], *, has_job: bool) -> None:
        if self._function is not None:
            self._reading.call(self._function, function, of_job, has_job=has_job)

    def _result_of(self, function: Function, values: Sequence[Value]) -> Type:
        found = self._program.type_of(function.module, function.node.returns, function.owner)
        if found.names:
            return found
        # A type variable, it may be: what the callable returns that it was given.
        callables = (value.type for value in values if value.type.names == ("Callable",))
        return next(callables, _UNKNOWN).item

    def _pass_on(self, called: Value, values: Sequence[Value]) -> None:
        """Take functions that are passed on by name for called, if they come by the job."""
        receiver = called.bound or NOTHING
        is_beside = receiver.job or any(value.job for value in values if not value.functions)
        for value in values:
            bound = value.bound or NOTHING
            for function in value.functions:
                names = {argument.arg for argument in function.parameters} if is_beside else set()
                self._follow(function, names, has_job=is_beside or bound.job)

    def _call_unknown(self, func: ast.Attribute, values: Sequence[Value]) -> Value:
        """Note a call that may lead further: of a method of ours, if the receiver were known."""
        receiver = Reader(self._reading, self._module, self._env).visit(func.value)
        if receiver.type.names:
            return Value(_ELSEWHERE)
        has_job = any(value.job for value in [receiver, *values])
        if has_job and self._function is not None and func.attr in self._program.method_names:
            doubt = f"{self._function}, line {func.lineno}: {ast.unparse(func)}()"
            self._reading.doubtful.append(doubt)
        return NOTHING

    # Other expressions

    def visit_Subscript(self, node: ast.Subscript) -> Value:
        base = self.visit(node.value)
        self.visit(node.slice)
        if base.what is not None:
            return base  # a generic class with its arguments
        kept = base.type.args[-1] if base.type.args else _UNKNOWN
        return Value(base.type if isinstance(node.slice, ast.Slice) else kept, base.job)

    def visit_Tuple(self, node: ast.Tuple) -> Value:
        parts = [self.visit(part) for part in node.elts]
        types = tuple(part.type for part in parts)
        return Value(Type(("tuple",), types), any(part.job for part in parts))

    def visit_List(self, node: ast.List) -> Value:
        whole = reduce(or_, (self.visit(part) for part in node.elts), NOTHING)
        return Value(Type(("list",), (whole.type,)), whole.job)

    def visit_IfExp(self, node: ast.IfExp) -> Value:
        self.visit(node.test)
        return self.visit(node.body) | self.visit(node.orelse)

    def visit_BoolOp(self, node: ast.BoolOp) -> Value:
        return reduce(or_, (self.visit(part) for part in node.values))

    def visit_Constant(self, node: ast.Constant) -> Value:
        return NOTHING if node.value is None else Value(_ELSEWHERE)

    def visit_Starred(self, node: ast.Starred) -> Value:
        value = self.visit(node.value)
        return Value(value.type.item, value.job)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> Value:
        value = self.visit(node.value)
        self._bind(node.target, value)
        return value

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> Value:
        inner = Reader(self._reading, self._module, self._env, self._function)
        for clause in node.generators:
            many = inner.visit(clause.iter)
            inner._bind(clause.target, Value(many.type.item, many.job))
            for condition in clause.ifs:
                inner.visit(condition)
        made = inner.visit(node.elt)
        return Value(Type(("list",), (made.type,)), made.job)

    visit_SetComp = visit_GeneratorExp = visit_ListComp

    def visit_Lambda(self, node: ast.Lambda) -> Value:
        inner = Reader(self._reading, self._module, self._env, self._function)
        return Value(Type(("Callable",), (inner.visit(node.body).type,)))

    # Statements

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Value:
        """Read a nested function where it is defined."""
        nested = Function(self._module, node.name, "", node)
        env = self._env | self._reading.parameters_of(nested)
        Reader(self._reading, self._module, env, self._function).read(node.body)
        result = self._program.type_of(self._module, node.returns)
        self._env[node.name] = Value(Type(("Callable",), (result,)))
        return NOTHING

    def visit_Assign(self, node: ast.Assign) -> Value:
        value = self.visit(node.value)
        for target in node.targets:
            self._bind(target, value)
        return NOTHING

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Value:
        declared = self._program.type_of(self._module, node.annotation)
        value = self.visit(node.value)
        self._bind(node.target, replace(value, type=declared) if declared.names else value)
        return NOTHING

    def visit_For(self, node: ast.For) -> Value:
        many = self.visit(node.iter)
        self._bind(node.target, Value(many.type.item, many.job))
        self.read([*node.body, *node.orelse])
        return NOTHING

    def visit_With(self, node: ast.With) -> Value:
        contexts = []
        for item in node.items:
            context = self.visit(item.context_expr)
            contexts.append(context)
            entered = self._member(context, "__enter__")
            made = self._enter(entered, [], {}) if entered.functions else Value(context.type.item)
            if item.optional_vars is not None:
                self._bind(item.optional_vars, replace(made, job=context.job))
        self.read(node.body)
        for context in reversed(contexts):
            self._enter(self._member(context, "__exit__"), [], {})
        return NOTHING

    def _bind(self, target: ast.expr, value: Value) -> None:
        """Give a name its value, besides what it had before; of what it is unknown, nothing."""
        match target:
            case ast.Name(id=name):
                self._env[name] = self._env.get(name, NOTHING) | value
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                types = value.type.args if "tuple" in value.type.names else ()
                for number, part in enumerate(parts):
                    found = types[number] if number < len(types) else value.type.item
                    self._bind(part, Value(found, value.job and not found.names))
            case ast.Starred(value=inner):
                self._bind(inner, value)


def _result_elsewhere(name: str, given: Sequence[Value]) -> Value:
    """Return what a function that is not ours makes of its arguments, as far as it matters."""
    if name in _SAME_ITEMS:
        return next((value for value in given if value.job), NOTHING)
    if name in ("zip", "enumerate"):
        parts = ([_ELSEWHERE] if name == "enumerate" else []) + [one.type.item for one in given]
        return Value(Type(("list",), (Type(("tuple",), tuple(parts)),)))
    return Value(_ELSEWHERE)


def _last_name(value: Value) -> str:
    """Return the last part of the name of something that is not ours."""
    match value.what:
        case Module(dotted=dotted, is_ours=False):
            return dotted.rsplit(".", 1)[-1]
    return ""


def is_in(module: str, packages: Sequence[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in packages)
