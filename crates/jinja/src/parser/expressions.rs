//! Parses expressions by precedence climbing.

use super::Parser;
use crate::ast::*;
use crate::error::{Result, fail};
use crate::lexer::Token;
use crate::value::Value;

impl Parser {
    /// One expression, or several separated by commas, which are a tuple.
    pub(super) fn tuple(&mut self) -> Result<Expression> {
        self.tuple_of(Self::expression)
    }

    pub(super) fn tuple_of(&mut self, item: fn(&mut Self) -> Result<Expression>) -> Result<Expression> {
        let first = item(self)?;
        if !self.is_sign(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.take_sign(",") {
            let ends = match self.peek() {
                Token::Sign(sign) => *sign == ")",
                Token::Name(name) => matches!(&**name, "if" | "recursive"),
                token => matches!(token, Token::BlockEnd | Token::PrintEnd),
            };
            if ends {
                break;
            }
            items.push(item(self)?);
        }
        Ok(Expression::Tuple(items))
    }

    pub(super) fn expression(&mut self) -> Result<Expression> {
        self.nested(|parser| {
            let then = parser.climb(OR)?;
            if !parser.take_word("if") {
                return Ok(then);
            }
            let condition = parser.climb(OR)?;
            let otherwise = if parser.take_word("else") { Some(parser.expression()?) } else { None };
            Ok(Expression::Conditional(Box::new(Conditional { then, condition, otherwise })))
        })
    }

    /// An expression that ends before `if`: the items of a loop, after which `if` is the loop's condition.
    pub(super) fn without_condition(&mut self) -> Result<Expression> {
        self.nested(|parser| parser.climb(OR))
    }

    /// Operators of precedence `least` and higher, with their operands.
    fn climb(&mut self, least: u8) -> Result<Expression> {
        let mut left = if least <= NOT && self.take_word("not") {
            // The operand of `not` includes comparisons, so none can follow it.
            Expression::Not(Box::new(self.nested(|parser| parser.climb(NOT))?))
        } else {
            self.unary(true)?
        };
        // A comparison in parentheses is an operand, not the start of a chain.
        let mut chain_is_open = false;
        while let Some((binary, words)) = self.binary() {
            let precedence = binary.precedence();
            if precedence < least {
                break;
            }
            for _ in 0..words {
                self.skip();
            }
            let right = self.nested(|parser| parser.climb(precedence + 1))?;
            left = match (binary, left) {
                (Binary::Or, Expression::Or(mut all)) => {
                    all.push(right);
                    Expression::Or(all)
                }
                (Binary::Or, left) => Expression::Or(vec![left, right]),
                (Binary::And, Expression::And(mut all)) => {
                    all.push(right);
                    Expression::And(all)
                }
                (Binary::And, left) => Expression::And(vec![left, right]),
                (Binary::Comparison(comparison), Expression::Comparison(first, mut rest)) if chain_is_open => {
                    rest.push((comparison, right));
                    Expression::Comparison(first, rest)
                }
                (Binary::Comparison(comparison), left) => {
                    Expression::Comparison(Box::new(left), vec![(comparison, right)])
                }
                (Binary::Operator(operator), Expression::Arithmetic(first, mut rest)) => {
                    rest.push((operator, right));
                    Expression::Arithmetic(first, rest)
                }
                (Binary::Operator(operator), left) => Expression::Arithmetic(Box::new(left), vec![(operator, right)]),
            };
            chain_is_open = matches!(binary, Binary::Comparison(_));
        }
        Ok(left)
    }

    /// The next binary operator and its number of tokens.
    fn binary(&self) -> Option<(Binary, u8)> {
        use Comparison::*;
        use Operator::*;
        let binary = match self.peek() {
            Token::Sign(sign) => match *sign {
                "==" => Binary::Comparison(Equal),
                "!=" => Binary::Comparison(NotEqual),
                "<" => Binary::Comparison(Less),
                "<=" => Binary::Comparison(LessOrEqual),
                ">" => Binary::Comparison(Greater),
                ">=" => Binary::Comparison(GreaterOrEqual),
                "+" => Binary::Operator(Add),
                "-" => Binary::Operator(Subtract),
                "~" => Binary::Operator(Concatenate),
                "*" => Binary::Operator(Multiply),
                "/" => Binary::Operator(Divide),
                "//" => Binary::Operator(FloorDivide),
                "%" => Binary::Operator(Modulo),
                "**" => Binary::Operator(Power),
                _ => return None,
            },
            Token::Name(name) => match &**name {
                "or" => Binary::Or,
                "and" => Binary::And,
                "in" => Binary::Comparison(In),
                "not" if matches!(self.peek_second(), Token::Name(name) if &**name == "in") => {
                    return Some((Binary::Comparison(NotIn), 2));
                }
                _ => return None,
            },
            _ => return None,
        };
        Some((binary, 1))
    }

    /// An operand with its signs, and the attributes and calls that follow. With `filters`, also the filters and tests.
    fn unary(&mut self, filters: bool) -> Result<Expression> {
        let operand = if self.take_sign("-") {
            Expression::Negative(Box::new(self.nested(|parser| parser.unary(false))?))
        } else if self.take_sign("+") {
            Expression::Positive(Box::new(self.nested(|parser| parser.unary(false))?))
        } else {
            self.primary()?
        };
        self.postfix(operand, filters)
    }

    fn primary(&mut self) -> Result<Expression> {
        let token = self.peek().clone();
        use Token::{Float, Int, Name, Sign, Str};
        if !matches!(token, Name(_) | Str(_) | Int(_) | Float(_) | Sign("(" | "[" | "{")) {
            return self.unexpected("an expression");
        }
        self.skip();
        Ok(match token {
            Name(name) => match &*name {
                "true" | "True" => Expression::Constant(Value::Bool(true)),
                "false" | "False" => Expression::Constant(Value::Bool(false)),
                "none" | "None" => Expression::Constant(Value::None),
                word => {
                    self.reads_varargs |= word == "varargs";
                    self.reads_kwargs |= word == "kwargs";
                    Expression::Name(name)
                }
            },
            Str(first) => {
                let mut text = String::from(&*first);
                while let Str(next) = self.peek() {
                    text.push_str(next);
                    self.skip();
                }
                Expression::Constant(Value::str(text))
            }
            Int(n) => Expression::Constant(Value::Int(n)),
            Float(x) => Expression::Constant(Value::Float(x)),
            Sign("(") if self.take_sign(")") => Expression::Tuple(Vec::new()),
            Sign("(") => {
                let inner = self.tuple()?;
                self.expect_sign(")")?;
                inner
            }
            Sign("[") => Expression::List(self.separated("]", Self::expression)?),
            _ => {
                let entry = |parser: &mut Self| {
                    let key = parser.expression()?;
                    parser.expect_sign(":")?;
                    Ok((key, parser.expression()?))
                };
                Expression::Dict(self.separated("}", entry)?)
            }
        })
    }

    fn postfix(&mut self, operand: Expression, filters: bool) -> Result<Expression> {
        let mut suffixes = Vec::new();
        // After a filter or test no attribute can follow: `a|b.c` would be a filter with the name `b.c`.
        let mut filtered = false;
        loop {
            let line = self.line();
            let kind = if self.is_sign("(") {
                SuffixKind::Call(self.arguments()?)
            } else if !filtered && self.take_sign(".") {
                match self.peek().clone() {
                    Token::Int(index) => {
                        self.skip();
                        SuffixKind::Item(Expression::Constant(Value::Int(index)))
                    }
                    _ => SuffixKind::Attribute(self.name()?),
                }
            } else if !filtered && self.take_sign("[") {
                self.subscript()?
            } else if filters && self.take_sign("|") {
                filtered = true;
                self.filter()?.kind
            } else if filters && self.take_word("is") {
                filtered = true;
                self.test()?
            } else {
                break;
            };
            suffixes.push(Suffix { line, kind });
        }
        Ok(match operand {
            operand if suffixes.is_empty() => operand,
            // An operand in parentheses may have suffixes already: `(a.b).c`.
            Expression::Postfix(inner, mut all) => {
                all.append(&mut suffixes);
                Expression::Postfix(inner, all)
            }
            operand => Expression::Postfix(Box::new(operand), suffixes),
        })
    }

    fn subscript(&mut self) -> Result<SuffixKind> {
        let mut parts = [None, None, None];
        let mut part = 0;
        loop {
            if self.take_sign("]") {
                break;
            }
            if self.take_sign(":") {
                part += 1;
                if part == parts.len() {
                    return fail("a slice has at most three parts");
                }
                continue;
            }
            if parts[part].is_some() {
                return self.unexpected("`]`");
            }
            parts[part] = Some(self.expression()?);
        }
        match (part, parts) {
            (0, [Some(index), ..]) => Ok(SuffixKind::Item(index)),
            (0, _) => fail("expected an index between `[` and `]`"),
            (_, parts) => Ok(SuffixKind::Slice(parts)),
        }
    }

    pub(super) fn filter(&mut self) -> Result<Suffix> {
        let line = self.line();
        let name = self.name()?;
        let arguments = if self.is_sign("(") { self.arguments()? } else { Arguments::default() };
        Ok(Suffix { line, kind: SuffixKind::Filter(name, arguments) })
    }

    /// The test after `is`. A single argument needs no parentheses: `x is divisibleby 3`.
    fn test(&mut self) -> Result<SuffixKind> {
        let negated = self.take_word("not");
        let name = self.name()?;
        let bare = match self.peek() {
            Token::Name(name) => !matches!(&**name, "else" | "or" | "and" | "if" | "is" | "in" | "not" | "recursive"),
            Token::Str(_) | Token::Int(_) | Token::Float(_) => true,
            token => matches!(token, Token::Sign("[" | "{")),
        };
        let arguments = if self.is_sign("(") {
            self.arguments()?
        } else if bare {
            let operand = self.primary()?;
            Arguments { positional: vec![self.postfix(operand, false)?], ..Arguments::default() }
        } else {
            Arguments::default()
        };
        Ok(SuffixKind::Test { name, arguments, negated })
    }

    fn arguments(&mut self) -> Result<Arguments> {
        self.expect_sign("(")?;
        let mut arguments = Arguments::default();
        self.separated(")", |parser| {
            if parser.take_sign("*") {
                if arguments.more.replace(parser.expression()?).is_some() {
                    return fail("a call has more than one `*`");
                }
            } else if parser.take_sign("**") {
                if arguments.more_named.replace(parser.expression()?).is_some() {
                    return fail("a call has more than one `**`");
                }
            } else if let (Token::Name(name), Token::Sign("=")) = (parser.peek(), parser.peek_second()) {
                let name = name.clone();
                parser.skip();
                parser.skip();
                arguments.named.push((name, parser.expression()?));
            } else if arguments.named.is_empty() && arguments.more.is_none() && arguments.more_named.is_none() {
                arguments.positional.push(parser.expression()?);
            } else {
                return fail("a positional argument follows a keyword argument");
            }
            Ok(())
        })?;
        Ok(arguments)
    }

    /// Items separated by commas up to `close`, which is skipped. A comma may follow the last item.
    fn separated<T>(&mut self, close: &str, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        while !self.take_sign(close) {
            if !items.is_empty() {
                self.expect_sign(",")?;
                if self.take_sign(close) {
                    break;
                }
            }
            items.push(item(self)?);
        }
        Ok(items)
    }
}

const OR: u8 = 1;
const NOT: u8 = 3;

#[derive(Clone, Copy)]
enum Binary {
    Or,
    And,
    Comparison(Comparison),
    Operator(Operator),
}

impl Binary {
    /// The order is Python's, with `~` between addition and multiplication.
    fn precedence(self) -> u8 {
        match self {
            Self::Or => OR,
            Self::And => 2,
            Self::Comparison(_) => 4,
            Self::Operator(Operator::Add | Operator::Subtract) => 5,
            Self::Operator(Operator::Concatenate) => 6,
            Self::Operator(Operator::Multiply | Operator::Divide | Operator::FloorDivide | Operator::Modulo) => 7,
            Self::Operator(Operator::Power) => 8,
        }
    }
}
