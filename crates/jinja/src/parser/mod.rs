//! Parses statements by recursive descent. The depth of the recursion is limited, so that a hostile template cannot overflow
//! the stack.

use std::sync::Arc;

use crate::ast::*;
use crate::error::{Result, fail, over_limit, quoted};
use crate::lexer::Token;

mod expressions;

/// How deep blocks and brackets together may nest in the source.
const NESTING: u32 = 64;

/// Names to which a template cannot assign.
const CONSTANTS: [&str; 6] = ["true", "True", "false", "False", "none", "None"];

pub(super) struct Parser {
    tokens: Vec<(Token, u32)>,
    at: usize,
    nesting: u32,
    loops: u32,
    macros: Vec<Macro>,
    /// Whether the current macro reads `varargs` and `kwargs`.
    reads_varargs: bool,
    reads_kwargs: bool,
}

impl Parser {
    /// The tokens end with [`Token::End`].
    pub fn new(tokens: Vec<(Token, u32)>) -> Self {
        Self { tokens, at: 0, nesting: 0, loops: 0, macros: Vec::new(), reads_varargs: false, reads_kwargs: false }
    }

    pub fn line(&self) -> u32 {
        self.tokens[self.at].1
    }

    pub fn run(&mut self) -> Result<Template> {
        let body = self.body(&[])?;
        Ok(Template { body, macros: std::mem::take(&mut self.macros) })
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn peek_second(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].0
    }

    fn skip(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(s) if *s == sign)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Name(name) if **name == *word)
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        if found {
            self.skip();
        }
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.skip();
        }
        found
    }

    fn expect_sign(&mut self, sign: &str) -> Result<()> {
        if self.take_sign(sign) { Ok(()) } else { self.unexpected(&format!("`{sign}`")) }
    }

    fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.take_word(word) { Ok(()) } else { self.unexpected(&format!("`{word}`")) }
    }

    fn expect(&mut self, token: Token, name: &str) -> Result<()> {
        if *self.peek() != token {
            return self.unexpected(name);
        }
        self.skip();
        Ok(())
    }

    fn name(&mut self) -> Result<Arc<str>> {
        let Token::Name(name) = self.peek() else { return self.unexpected("a name") };
        let name = name.clone();
        self.skip();
        Ok(name)
    }

    fn unexpected<T>(&self, wanted: &str) -> Result<T> {
        let found = match self.peek() {
            Token::Text(_) => "text".into(),
            Token::BlockBegin => "`{%`".into(),
            Token::BlockEnd => "`%}`".into(),
            Token::PrintBegin => "`{{`".into(),
            Token::PrintEnd => "`}}`".into(),
            Token::Name(name) => quoted(name),
            Token::Str(_) => "a string".into(),
            Token::Int(_) | Token::Float(_) => "a number".into(),
            Token::Sign(sign) => format!("`{sign}`"),
            Token::End => "the end of the template".into(),
        };
        fail(format!("expected {wanted}, found {found}"))
    }

    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.nesting == NESTING {
            return over_limit(format!("blocks and brackets nest deeper than {NESTING} levels"));
        }
        self.nesting += 1;
        let result = inner(self);
        self.nesting -= 1;
        result
    }

    /// Statements up to a tag that begins with one of the words `ends`, which is left as the next token. Without `ends`, up to
    /// the end of the template.
    fn body(&mut self, ends: &[&str]) -> Result<Vec<Statement>> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            match self.peek() {
                Token::Text(text) => {
                    body.push(Statement { line, kind: StatementKind::Text(text.clone()) });
                    self.skip();
                }
                Token::PrintBegin => {
                    self.skip();
                    let value = self.tuple()?;
                    self.expect(Token::PrintEnd, "`}}`")?;
                    body.push(Statement { line, kind: StatementKind::Print(value) });
                }
                Token::BlockBegin => {
                    self.skip();
                    if ends.iter().any(|end| self.is_word(end)) {
                        return Ok(body);
                    }
                    let kind = self.nested(Self::statement)?;
                    self.expect(Token::BlockEnd, "`%}`")?;
                    body.push(Statement { line, kind });
                }
                Token::End if ends.is_empty() => return Ok(body),
                _ => {
                    return self
                        .unexpected(&ends.iter().map(|end| format!("`{end}`")).collect::<Vec<_>>().join(" or "));
                }
            }
        }
    }

    /// The end of an opening tag, then statements up to one of `ends`.
    fn block(&mut self, ends: &[&str]) -> Result<Vec<Statement>> {
        self.expect(Token::BlockEnd, "`%}`")?;
        self.body(ends)
    }

    /// [`Parser::block`] with one end, which is skipped.
    fn block_to(&mut self, end: &str) -> Result<Vec<Statement>> {
        let body = self.block(&[end])?;
        self.expect_word(end)?;
        Ok(body)
    }

    fn statement(&mut self) -> Result<StatementKind> {
        let keyword = self.name()?;
        Ok(match &*keyword {
            "if" => self.parse_if()?,
            "for" => self.parse_for()?,
            "set" => self.parse_set()?,
            "macro" => {
                let name = self.name()?;
                StatementKind::Macro(self.parse_macro(name, "endmacro")?)
            }
            "call" => {
                let parameters = if self.is_sign("(") { self.parameters()? } else { Vec::new() };
                let call = self.expression()?;
                StatementKind::Call { call, caller: self.macro_body("caller".into(), parameters, "endcall")? }
            }
            "filter" => {
                let mut filters = vec![self.filter()?];
                while self.take_sign("|") {
                    filters.push(self.filter()?);
                }
                StatementKind::FilterBlock { filters, body: self.block_to("endfilter")? }
            }
            "with" => {
                let mut bindings = Vec::new();
                while *self.peek() != Token::BlockEnd {
                    if !bindings.is_empty() {
                        self.expect_sign(",")?;
                    }
                    let target = self.target(false)?;
                    self.expect_sign("=")?;
                    bindings.push((target, self.expression()?));
                }
                StatementKind::With { bindings, body: self.block_to("endwith")? }
            }
            "generation" => StatementKind::Scope(self.block_to("endgeneration")?),
            "break" | "continue" if self.loops == 0 => return fail(format!("`{keyword}` outside a loop")),
            "break" => StatementKind::Break,
            "continue" => StatementKind::Continue,
            "extends" | "include" | "import" | "from" | "block" => {
                return fail(format!("`{keyword}` is not supported: a chat template is one file"));
            }
            other => return fail(format!("unknown statement {}", quoted(other))),
        })
    }

    fn parse_if(&mut self) -> Result<StatementKind> {
        let mut branches = Vec::new();
        let mut otherwise = Vec::new();
        loop {
            let condition = self.tuple()?;
            branches.push((condition, self.block(&["elif", "else", "endif"])?));
            if self.take_word("elif") {
                continue;
            }
            if self.take_word("else") {
                otherwise = self.block(&["endif"])?;
            }
            self.expect_word("endif")?;
            return Ok(StatementKind::If { branches, otherwise });
        }
    }

    fn parse_for(&mut self) -> Result<StatementKind> {
        let target = self.target(true)?;
        self.expect_word("in")?;
        let items = self.tuple_of(Self::without_condition)?;
        let condition = if self.take_word("if") { Some(self.expression()?) } else { None };
        if self.is_word("recursive") {
            return fail("recursive loops are not supported");
        }
        self.loops += 1;
        let body = self.block(&["else", "endfor"])?;
        self.loops -= 1;
        let otherwise = if self.take_word("else") { self.block(&["endfor"])? } else { Vec::new() };
        self.expect_word("endfor")?;
        Ok(StatementKind::For(Box::new(For { target, items, condition, body, otherwise })))
    }

    fn parse_set(&mut self) -> Result<StatementKind> {
        let target = self.target(true)?;
        if self.take_sign("=") {
            return Ok(StatementKind::Set { target, value: self.tuple()? });
        }
        let mut filters = Vec::new();
        while self.take_sign("|") {
            filters.push(self.filter()?);
        }
        Ok(StatementKind::SetBlock { target, filters, body: self.block_to("endset")? })
    }

    fn parse_macro(&mut self, name: Arc<str>, end: &str) -> Result<usize> {
        let parameters = self.parameters()?;
        self.macro_body(name, parameters, end)
    }

    fn macro_body(
        &mut self,
        name: Arc<str>,
        parameters: Vec<(Arc<str>, Option<Expression>)>,
        end: &str,
    ) -> Result<usize> {
        let outer = (self.loops, self.reads_varargs, self.reads_kwargs);
        (self.loops, self.reads_varargs, self.reads_kwargs) = (0, false, false);
        let body = self.block_to(end)?;
        let (takes_more, takes_named) = (self.reads_varargs, self.reads_kwargs);
        (self.loops, self.reads_varargs, self.reads_kwargs) = outer;
        self.macros.push(Macro { name, parameters, body, takes_more, takes_named });
        Ok(self.macros.len() - 1)
    }

    fn parameters(&mut self) -> Result<Vec<(Arc<str>, Option<Expression>)>> {
        self.expect_sign("(")?;
        let mut parameters: Vec<(Arc<str>, Option<Expression>)> = Vec::new();
        while !self.take_sign(")") {
            if !parameters.is_empty() {
                self.expect_sign(",")?;
            }
            let name = self.name()?;
            let default = if self.take_sign("=") { Some(self.expression()?) } else { None };
            if default.is_none() && parameters.last().is_some_and(|(_, default)| default.is_some()) {
                return fail("a parameter without a default follows one with a default");
            }
            parameters.push((name, default));
        }
        Ok(parameters)
    }

    /// The target of an assignment: a name, `namespace.attribute`, or a tuple of them if `tuples`.
    fn target(&mut self, tuples: bool) -> Result<Target> {
        let first = self.single_target()?;
        if !tuples || !self.is_sign(",") {
            return Ok(first);
        }
        let mut targets = vec![first];
        while self.take_sign(",") {
            if self.is_word("in") || self.is_sign("=") {
                break;
            }
            targets.push(self.single_target()?);
        }
        Ok(Target::Tuple(targets))
    }

    fn single_target(&mut self) -> Result<Target> {
        if self.take_sign("(") {
            let inner = self.nested(|parser| parser.target(true))?;
            self.expect_sign(")")?;
            return Ok(inner);
        }
        let name = self.name()?;
        if CONSTANTS.contains(&&*name) {
            return fail(format!("cannot assign to `{name}`"));
        }
        if self.take_sign(".") { Ok(Target::Attribute(name, self.name()?)) } else { Ok(Target::Name(name)) }
    }
}
