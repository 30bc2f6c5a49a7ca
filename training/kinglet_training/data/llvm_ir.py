"""Descriptions of functions, and their LLVM IR: arithmetic, comparisons, constants, compositions, branches and loops."""

from __future__ import annotations

import random

NAMES = (
    "add apply area balance best bias bound change check clamp cost delta depth drift edge error fee fold gain gap grade index "
    "level limit load loss mark mass merge mix offset pace part pick power price range rank rate ratio reach scale score share "
    "shift size speed step sum total trend unit value weight width yield"
).split()

INTEGERS = {
    "i8": ("8-bit integer", "byte"),
    "i16": ("16-bit integer", "short"),
    "i32": ("int", "32-bit integer", "integer"),
    "i64": ("64-bit integer", "long"),
}
FLOATS = {"float": ("float", "single-precision number"), "double": ("double", "double-precision number")}
TYPES = INTEGERS | FLOATS

# Text for two operands, opcode for integers, opcode for floats.
BINARY = [
    ("the sum of {x} and {y}", "add", "fadd"),
    ("the difference of {x} and {y}", "sub", "fsub"),
    ("the product of {x} and {y}", "mul", "fmul"),
    ("the quotient of {x} and {y}", "sdiv", "fdiv"),
    ("the remainder of {x} divided by {y}", "srem", "frem"),
    ("the bitwise and of {x} and {y}", "and", None),
    ("the bitwise or of {x} and {y}", "or", None),
    ("the bitwise exclusive or of {x} and {y}", "xor", None),
]
COMPARISONS = [
    ("{x} equals {y}", "eq", "oeq"),
    ("{x} differs from {y}", "ne", "one"),
    ("{x} is less than {y}", "slt", "olt"),
    ("{x} is at most {y}", "sle", "ole"),
    ("{x} is greater than {y}", "sgt", "ogt"),
    ("{x} is at least {y}", "sge", "oge"),
]
OPENINGS = [
    "function @{name}: that {what}",
    "I need a function named @{name} that {what}",
    "write @{name}, which {what}",
    "define a function @{name} that {what}",
]


class _Body:
    """Instructions with numbered results."""

    def __init__(self, kind: str) -> None:
        self.kind, self.lines, self.next = kind, ["entry:"], 0

    def add(self, instruction: str) -> str:
        value = f"%{self.next}"
        self.next += 1
        self.lines.append(f"  {value} = {instruction}")
        return value

    def binary(self, operation: tuple[str, str, str | None], x: str, y: str) -> str:
        opcode = operation[2] if self.kind in FLOATS else operation[1]
        return self.add(f"{opcode} {self.kind} {x}, {y}")

    def compare(self, comparison: tuple[str, str, str], x: str, y: str) -> str:
        word = f"fcmp {comparison[2]}" if self.kind in FLOATS else f"icmp {comparison[1]}"
        return self.add(f"{word} {self.kind} {x}, {y}")


def pair(source: random.Random) -> tuple[str, str]:
    """A description and its function."""
    kind = source.choice(list(TYPES))
    shape = source.choices([_binary, _constant, _compare, _choose, _compose, _branch, _loop], [6, 4, 4, 3, 5, 4, 2])[0]
    if shape is _loop:
        kind = source.choice(list(INTEGERS))
    body = _Body(kind)
    what, result, arguments = shape(source, body)
    name = source.choice(NAMES)
    word = source.choice(TYPES[kind])
    listed = " and ".join(arguments)
    signature = source.choice([f"takes {_several(len(arguments), word)} {listed} and", f"for {word} {listed}"])
    text = source.choice(OPENINGS).format(name=name, what=f"{signature} {what}")
    parameters = ", ".join(f"{kind} {argument}" for argument in arguments)
    lines = "\n".join(body.lines)
    return text, f"define {result} @{name}({parameters}) {{\n{lines}\n}}"


def _several(count: int, word: str) -> str:
    article = "an" if word[0] in "aeiou8" else "a"
    return f"{article} {word} value" if count == 1 else f"{('', '', 'two', 'three')[count]} {word} values"


def _operation(source: random.Random, kind: str) -> tuple[str, str, str | None]:
    return source.choice([operation for operation in BINARY if operation[2] or kind in INTEGERS])


def _binary(source: random.Random, body: _Body) -> tuple[str, str, list[str]]:
    operation = _operation(source, body.kind)
    value = body.binary(operation, "%a", "%b")
    body.lines.append(f"  ret {body.kind} {value}")
    return f"returns {operation[0].format(x='%a', y='%b')}", body.kind, ["%a", "%b"]


def _number(source: random.Random, kind: str) -> tuple[str, str]:
    """A constant in the text and in the code."""
    number = source.randint(2, 100)
    return str(number), f"{number}.0" if kind in FLOATS else str(number)


def _constant(source: random.Random, body: _Body) -> tuple[str, str, list[str]]:
    operation = _operation(source, body.kind)
    shown, constant = _number(source, body.kind)
    value = body.binary(operation, "%a", constant)
    body.lines.append(f"  ret {body.kind} {value}")
    return f"returns {operation[0].format(x='%a', y=shown)}", body.kind, ["%a"]


def _compare(source: random.Random, body: _Body) -> tuple[str, str, list[str]]:
    comparison = source.choice(COMPARISONS)
    body.lines.append(f"  ret i1 {body.compare(comparison, '%a', '%b')}")
    return f"tells whether {comparison[0].format(x='%a', y='%b')}", "i1", ["%a", "%b"]


def _choose(source: random.Random, body: _Body) -> tuple[str, str, list[str]]:
    text, comparison = source.choice([("larger", COMPARISONS[4]), ("smaller", COMPARISONS[2])])
    condition = body.compare(comparison, "%a", "%b")
    value = body.add(f"select i1 {condition}, {body.kind} %a, {body.kind} %b")
    body.lines.append(f"  ret {body.kind} {value}")
    return f"returns the {text} of %a and %b", body.kind, ["%a", "%b"]


def _compose(source: random.Random, body: _Body) -> tuple[str, str, list[str]]:
    first, second = _operation(source, body.kind), _operation(source, body.kind)
    inner = body.binary(first, "%a", "%b")
    value = body.binary(second, inner, "%c")
    body.lines.append(f"  ret {body.kind} {value}")
    x = first[0].format(x="%a", y="%b")
    return f"returns {second[0].format(x='(' + x + ')', y='%c')}", body.kind, ["%a", "%b", "%c"]


def _branch(source: random.Random, body: _Body) -> tuple[str, str, list[str]]:
    comparison, yes, no = source.choice(COMPARISONS), _operation(source, body.kind), _operation(source, body.kind)
    condition = body.compare(comparison, "%a", "%b")
    body.lines += [f"  br i1 {condition}, label %then, label %else", "then:"]
    value = body.binary(yes, "%a", "%b")
    body.lines += [f"  ret {body.kind} {value}", "else:"]
    value = body.binary(no, "%a", "%b")
    body.lines.append(f"  ret {body.kind} {value}")
    texts = [operation[0].format(x="%a", y="%b") for operation in (yes, no)]
    return f"returns {texts[0]} if {comparison[0].format(x='%a', y='%b')}, else {texts[1]}", body.kind, ["%a", "%b"]


def _loop(source: random.Random, body: _Body) -> tuple[str, str, list[str]]:
    text, opcode, start = source.choice([("sum", "add", 0), ("product", "mul", 1)])
    kind = body.kind
    body.lines += [
        "  br label %loop",
        "loop:",
        f"  %i = phi {kind} [ 1, %entry ], [ %next, %loop ]",
        f"  %total = phi {kind} [ {start}, %entry ], [ %more, %loop ]",
        f"  %more = {opcode} {kind} %total, %i",
        f"  %next = add {kind} %i, 1",
        f"  %done = icmp sgt {kind} %next, %a",
        "  br i1 %done, label %end, label %loop",
        "end:",
        f"  ret {kind} %more",
    ]
    return f"returns the {text} of all numbers from 1 to %a", kind, ["%a"]
