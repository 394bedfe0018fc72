"""What pages and exhibits put into Markdown is their own words, numbers, or text made plain: read from their source."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))]
EXHIBITS = sorted((ROOT / "analysis" / "exhibits").glob("*.py"))

FIRST = {
    "button",
    "caption",
    "checkbox",
    "download_button",
    "error",
    "expander",
    "file_uploader",
    "header",
    "info",
    "link_button",
    "markdown",
    "metric",
    "multiselect",
    "number_input",
    "pills",
    "popover",
    "radio",
    "segmented_control",
    "select_slider",
    "selectbox",
    "slider",
    "spinner",
    "subheader",
    "success",
    "tabs",
    "table",
    "text_area",
    "text_input",
    "title",
    "toast",
    "toggle",
    "warning",
    "write",
}
"""Streamlit's calls whose first argument reads Markdown; `metric` reads three."""
KEYWORDS = {"help", "label", "body", "text", "delta", "value_text"}
OPTIONS = {"radio", "pills", "segmented_control", "segments"}
"""Calls whose options read Markdown as well: Streamlit's and ours."""
NUMBERS = re.compile(r"[+ ]?[,\d]*(\.\d+)?[dfeg%,]$")
OUR_TYPES = {
    "int",
    "float",
    "bool",
    "HeadMetric",
    "Measure",
    "SinkParams",
    "FieldInfo",
    "type[Spec]",
    "Scope",
    "DiscountParams",
    "TuneParams",
    "Split",
}
"""Annotations of what holds no text from outside: numbers, rows of our own tables, specs of nothing but choices."""
OUR_WORDS = {"model_fields", "__doc__", "formula"}
# `extra` and `help_text` give the words of a field of ours.
MADE_SAFE = {
    "extra",
    "percent",
    "help_text",
    "plain",
    "escaped",
    "code",
    "model_called",
    "duration",
    "len",
    "sum",
    "round",
    "abs",
    "range",
    "int",
}
TEXT_METHODS = {
    "join",
    "lower",
    "capitalize",
    "format",
    "strip",
    "replace",
    "partition",
    "split",
    "title",
    "upper",
    "get",
    "items",
    "values",
    "keys",
    "removesuffix",
}


class Module:
    """One file: its functions, its constants, what it imports."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}
        self.functions = {node.name: node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)}
        imports = [node for node in ast.walk(self.tree) if isinstance(node, ast.ImportFrom)]
        self.imported = {alias.asname or alias.name: node.module or "" for node in imports for alias in node.names}

    def function_of(self, node: ast.AST) -> ast.AST:
        while node in self.parents:
            node = self.parents[node]
            if isinstance(node, ast.FunctionDef):
                return node
        return self.tree


class Reader:
    """Judges expressions; a text parameter of a function is judged wherever the function is called."""

    def __init__(self, modules: list[Module]) -> None:
        self.modules = modules
        self.by_name = {module.name: module for module in modules}
        self.owed: dict[ast.FunctionDef, set[str]] = {}  # parameters that reach Markdown, by function

    def unsafe(self) -> list[str]:
        """Every place that puts text into Markdown as it came; the reading is repeated until nothing new is owed."""
        while True:
            before = {function: set(parameters) for function, parameters in self.owed.items()}
            found = [place for module in self.modules for place in self._of(module)]
            if before == self.owed:
                return found

    def _of(self, module: Module) -> list[str]:
        found = []
        for call in ast.walk(module.tree):
            if isinstance(call, ast.Call):
                for text in self._texts(module, call):
                    if not self.safe(module, text, frozenset()):
                        line = f"{module.path.relative_to(ROOT)}:{text.lineno}"
                        found.append(f"{line}: {ast.unparse(text)[:90]}")
        return found

    def _texts(self, module: Module, call: ast.Call) -> list[ast.expr]:
        """The arguments of a call that reach Markdown."""
        name = called(call)
        function = self._function(module, call)
        if function is not None and name not in OPTIONS:
            owed = self.owed.get(function, set())
            names = [argument.arg for argument in [*function.args.posonlyargs, *function.args.args]]
            given = dict(zip(names, call.args, strict=False)) | {word.arg: word.value for word in call.keywords}
            passed_on = KEYWORDS if function.args.kwarg else set()  # to a call of Streamlit's
            return [value for parameter, value in given.items() if parameter in owed or parameter in passed_on]
        if name == "Exhibit":
            return [word.value for word in call.keywords if word.arg == "formula"]
        if module.path in EXHIBITS:
            return []
        if name == "progress":
            return [word.value for word in call.keywords if word.arg == "text"]
        reads = name in FIRST | OPTIONS | {"page_link"}
        texts = [word.value for word in call.keywords if word.arg in KEYWORDS] if reads else []
        if name in FIRST and isinstance(call.func, ast.Attribute):
            texts += call.args[: 3 if name == "metric" else 1]
        if name in OPTIONS:
            texts += [word.value for word in call.keywords if word.arg == "format_func"] or call.args[1:2]
        return texts

    def _function(self, module: Module, call: ast.Call) -> ast.FunctionDef | None:
        """The function of the pages that is called: of this file, imported, or of an imported file."""
        name = called(call)
        if isinstance(call.func, ast.Name):
            homes = [module] if name in module.functions else [self.by_name.get(module.imported.get(name, ""))]
        elif isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
            homes = [self.by_name.get(f"{module.imported.get(call.func.value.id, '')}.{call.func.value.id}")]
        else:
            homes = []
        return next((home.functions[name] for home in homes if home is not None and name in home.functions), None)

    def safe(self, module: Module, node: ast.expr | None, seen: frozenset) -> bool:
        """Whether an expression holds no text from outside that was not made plain."""
        if node is None or (node,) in seen:
            return True
        seen = seen | {(node,)}

        def all_safe(nodes) -> bool:
            return all(self.safe(module, one, seen) for one in nodes)

        match node:
            case ast.Constant():
                return True
            case ast.JoinedStr():
                return all_safe(node.values)
            case ast.FormattedValue():
                spec = node.format_spec
                return (isinstance(spec, ast.JoinedStr) and is_number(spec)) or self.safe(module, node.value, seen)
            case ast.BinOp(op=ast.Sub() | ast.Div() | ast.FloorDiv()) | ast.Compare():
                return True
            case ast.BinOp():
                return all_safe([node.left, node.right])
            case ast.UnaryOp():
                return True
            case ast.IfExp():
                return all_safe([node.body, node.orelse])
            case ast.BoolOp():
                return all_safe(node.values)
            case ast.List() | ast.Tuple() | ast.Set():
                return all_safe(node.elts)
            case ast.Dict():
                return all_safe([*(key for key in node.keys if key is not None), *node.values])
            case ast.Starred():
                return self.safe(module, node.value, seen)
            case ast.ListComp() | ast.GeneratorExp() | ast.SetComp():
                return self.safe(module, node.elt, seen)
            case ast.DictComp():
                return self.safe(module, node.value, seen)  # its keys are ids, looked up
            case ast.Subscript():
                return self.safe(module, node.value, seen)
            case ast.Lambda():
                return self.safe(module, node.body, seen)
            case ast.Attribute():
                return node.attr in OUR_WORDS or node.attr.isupper() or self.safe(module, node.value, seen)
            case ast.Name():
                return self._safe_name(module, node, seen)
            case ast.Call():
                return self._safe_call(module, node, seen)
        return False

    def _safe_call(self, module: Module, call: ast.Call, seen: frozenset) -> bool:
        name = called(call)
        if name in MADE_SAFE:
            return True
        if name in (
            "str",
            "list",
            "sorted",
            "dict",
            "tuple",
            "zip",
            "next",
            "filter",
            "reversed",
            "enumerate",
            "map",
            "max",
            "counted",
        ):
            return all(self.safe(module, one, seen) for one in call.args)
        function = self._function(module, call)
        if function is not None:
            home = next(other for other in self.modules if function in other.functions.values())
            returns = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
            return bool(returns) and all(self.safe(home, one, seen) for one in returns)
        if isinstance(call.func, ast.Attribute) and name in TEXT_METHODS:
            given = call.args[1:] if name == "get" else call.args  # a key is looked up, never shown
            given = [call.func.value, *given, *(word.value for word in call.keywords)]
            return all(self.safe(module, one, seen) for one in given)
        return False

    def _safe_name(self, module: Module, node: ast.Name, seen: frozenset) -> bool:
        if node.id.strip("_").isupper() or node.id in module.functions or node.id in MADE_SAFE:
            return True  # constants, and functions handed over, which are judged where they return
        scope: ast.AST = node
        while True:
            scope = module.function_of(scope)
            given = self._given(scope, node.id) if isinstance(scope, ast.FunctionDef) else None
            if given is not None and isinstance(scope, ast.FunctionDef):
                kind = "str" if given.annotation is None else ast.unparse(given.annotation).split(" | ")[0]
                if kind in OUR_TYPES:
                    return True
                if "str" not in kind or "Any" in kind:
                    return False
                self.owed.setdefault(scope, set()).add(node.id)
                return True
            values = list(bound(scope, node.id))
            if values:
                return all(self.safe(module, value, seen) for value in values)
            if isinstance(scope, ast.Module):
                return False

    @staticmethod
    def _given(function: ast.FunctionDef, name: str) -> ast.arg | None:
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        return next((argument for argument in arguments if argument.arg == name), None)


def called(call: ast.Call) -> str:
    """The last part of what is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def is_number(spec: ast.JoinedStr) -> bool:
    """Whether a format can print nothing but a number, as text would raise an error."""
    text = "".join(str(part.value) for part in spec.values if isinstance(part, ast.Constant))
    formatted = any(isinstance(part, ast.FormattedValue) for part in spec.values)
    return formatted or bool(NUMBERS.match(text))


def bound(scope: ast.AST, name: str):
    """What a name is bound to in a function or module: assigned, looped over, or drawn by a comprehension."""
    for node in ast.walk(scope):
        pairs: list[tuple[ast.expr, ast.expr | None]] = []
        if isinstance(node, ast.Assign):
            pairs = [(target, node.value) for target in node.targets]
        elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
            pairs = [(node.target, node.value)]
        elif isinstance(node, ast.For | ast.comprehension):
            pairs = [(node.target, node.iter)]
        for target, value in pairs:
            yield from unpacked(target, value, name)


def unpacked(target: ast.expr, value: ast.expr | None, name: str):
    """The value of a name among what is unpacked."""
    if isinstance(target, ast.Name) and target.id == name:
        yield value
    elif isinstance(target, ast.Tuple | ast.List):
        parts = value.elts if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts) else None
        if parts is None and isinstance(value, ast.Call) and called(value) in ("zip", "enumerate"):
            parts = value.args if called(value) == "zip" else [ast.Constant(0), *value.args]
            parts = parts if len(parts) == len(target.elts) else None
        rows = value.elts if isinstance(value, ast.Tuple | ast.List) else []
        if rows and all(isinstance(row, ast.Tuple) and len(row.elts) == len(target.elts) for row in rows):
            for row in rows:
                yield from unpacked(target, row, name)
            return
        for index, element in enumerate(target.elts):
            yield from unpacked(element, parts[index] if parts else value, name)
    elif isinstance(target, ast.Starred):
        yield from unpacked(target.value, value, name)


def test_no_page_puts_text_into_markdown_as_it_came():
    assert Reader([Module(path) for path in [*PAGES, *EXHIBITS]]).unsafe() == []


def test_options_of_boxes_which_read_no_markdown_are_shown_as_they_are_written():
    found = []
    for module in [Module(path) for path in PAGES]:
        for call in [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]:
            titles = [word.value for word in call.keywords if word.arg == "format_func"]
            if called(call) == "shown_box":
                titles += call.args[4:5]
            elif called(call) not in ("selectbox", "multiselect"):
                continue
            for title in titles:
                names = {node.id for node in ast.walk(title) if isinstance(node, ast.Name)}
                inner = [module.functions[name] for name in names if name in module.functions]
                names |= {node.id for each in inner for node in ast.walk(each) if isinstance(node, ast.Name)}
                if "plain" in names:
                    found.append(f"{module.path}:{title.lineno}")
    assert found == []
