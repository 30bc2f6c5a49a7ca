//! The syntax tree of a template. Chains (`a + b + c`, `x.y.z|f|g`) are flat lists, so that a hostile source cannot make a
//! deep tree. Recursive are only constructs whose nesting the parser limits.

use std::sync::Arc;

use crate::value::Value;

#[derive(Debug)]
pub(crate) struct Template {
    pub body: Vec<Statement>,
    /// Macros, and the bodies of `call` blocks, which run as macros.
    pub macros: Vec<Macro>,
}

#[derive(Debug)]
pub(crate) struct Statement {
    pub line: u32,
    pub kind: StatementKind,
}

#[derive(Debug)]
pub(crate) enum StatementKind {
    Text(Arc<str>),
    Print(Expression),
    If {
        branches: Vec<(Expression, Vec<Statement>)>,
        otherwise: Vec<Statement>,
    },
    For(Box<For>),
    Set {
        target: Target,
        value: Expression,
    },
    SetBlock {
        target: Target,
        filters: Vec<Suffix>,
        body: Vec<Statement>,
    },
    FilterBlock {
        filters: Vec<Suffix>,
        body: Vec<Statement>,
    },
    With {
        bindings: Vec<(Target, Expression)>,
        body: Vec<Statement>,
    },
    /// The contents of a `generation` block, in their own scope.
    Scope(Vec<Statement>),
    Macro(usize),
    /// The call, and the index of the macro that it receives as `caller`.
    Call {
        call: Expression,
        caller: usize,
    },
    Break,
    Continue,
}

#[derive(Debug)]
pub(crate) struct For {
    pub target: Target,
    pub items: Expression,
    pub condition: Option<Expression>,
    pub body: Vec<Statement>,
    pub otherwise: Vec<Statement>,
}

#[derive(Debug)]
pub(crate) enum Target {
    Name(Arc<str>),
    /// `namespace.attribute`
    Attribute(Arc<str>, Arc<str>),
    Tuple(Vec<Target>),
}

#[derive(Debug)]
pub(crate) struct Macro {
    pub name: Arc<str>,
    pub parameters: Vec<(Arc<str>, Option<Expression>)>,
    pub body: Vec<Statement>,
    /// Whether the body reads `varargs` and `kwargs`. Only then may a call pass more arguments than there are parameters.
    pub takes_more: bool,
    pub takes_named: bool,
}

#[derive(Debug)]
pub(crate) enum Expression {
    Constant(Value),
    Name(Arc<str>),
    List(Vec<Expression>),
    Tuple(Vec<Expression>),
    Dict(Vec<(Expression, Expression)>),
    Not(Box<Expression>),
    Negative(Box<Expression>),
    Positive(Box<Expression>),
    /// Evaluated from left to right. Operators of higher precedence are inside the operands.
    Arithmetic(Box<Expression>, Vec<(Operator, Expression)>),
    /// Chained as in Python: `a < b < c`.
    Comparison(Box<Expression>, Vec<(Comparison, Expression)>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Conditional(Box<Conditional>),
    Postfix(Box<Expression>, Vec<Suffix>),
}

#[derive(Debug)]
pub(crate) struct Conditional {
    pub then: Expression,
    pub condition: Expression,
    pub otherwise: Option<Expression>,
}

#[derive(Debug)]
pub(crate) struct Suffix {
    pub line: u32,
    pub kind: SuffixKind,
}

#[derive(Debug)]
pub(crate) enum SuffixKind {
    Attribute(Arc<str>),
    Item(Expression),
    Slice([Option<Expression>; 3]),
    Call(Arguments),
    Filter(Arc<str>, Arguments),
    Test { name: Arc<str>, arguments: Arguments, negated: bool },
}

#[derive(Debug, Default)]
pub(crate) struct Arguments {
    pub positional: Vec<Expression>,
    pub named: Vec<(Arc<str>, Expression)>,
    /// `*list` and `**dictionary`
    pub more: Option<Expression>,
    pub more_named: Option<Expression>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Concatenate,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
    Power,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}
