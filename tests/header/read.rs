//! What `src/ffi` declares, read from its text. Anything that these few rules do not know is a panic with the name.

use std::collections::BTreeMap;
use std::path::Path;

use syn::parse::{Parse, ParseStream};
use syn::{
    Attribute, Expr, Fields, FnArg, Ident, Item, Lit, LitCStr, LitInt, LitStr, ReturnType, Token, Type, Visibility,
};

/// One file: a noun of the API.
pub struct Section {
    pub title: String,
    pub items: Vec<Declaration>,
}

pub enum Declaration {
    Constant { name: String, doc: String, value: String },
    Enumeration(Enumeration),
    Handle { name: String, doc: String },
    Struct(Struct),
    Callback(Function),
    Function(Function),
}

pub struct Enumeration {
    pub name: String,
    pub doc: String,
    pub name_function: String,
    pub values: Vec<Value>,
}

pub struct Value {
    pub constant: String,
    pub number: u32,
    pub text: String,
    pub doc: String,
}

pub struct Struct {
    pub name: String,
    pub doc: String,
    pub fields: Vec<Field>,
    /// What `versioned!` says: the name in messages, and the first size.
    pub versioned: Option<(String, usize)>,
}

pub struct Field {
    pub name: String,
    pub of: CType,
    pub doc: String,
}

pub struct Function {
    pub name: String,
    pub doc: String,
    pub parameters: Vec<(String, CType)>,
    pub returns: CType,
}

/// A type as C writes it: `const kinglet_str` and one star for each pointer.
#[derive(Clone, PartialEq)]
pub struct CType {
    pub name: String,
    pub constant: bool,
    pub stars: usize,
}

impl CType {
    pub const VOID: Self = Self { name: String::new(), constant: false, stars: 0 };

    fn plain(name: &str) -> Self {
        Self { name: name.to_string(), constant: false, stars: 0 }
    }

    /// The declaration of something of this type.
    pub fn declare(&self, name: &str) -> String {
        let constant = if self.constant { "const " } else { "" };
        let base = if self.name.is_empty() { "void" } else { &self.name };
        format!("{constant}{base} {}{name}", "*".repeat(self.stars)).trim_end().to_string()
    }
}

pub fn section(path: &Path) -> Section {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let title = doc(&file.attrs).trim_end_matches('.').to_string();
    assert!(!title.is_empty() && !title.contains('\n'), "{}: the first line is the section's title", path.display());
    let mut items = Vec::new();
    let mut versioned = BTreeMap::new();
    for item in file.items {
        match item {
            Item::Const(item) if is_public(&item.vis) => {
                let value = constant(&item.expr).unwrap_or_else(|| panic!("{}: what is its value?", item.ident));
                items.push(Declaration::Constant { name: item.ident.to_string(), doc: doc(&item.attrs), value });
            }
            Item::Struct(item) if is_public(&item.vis) => {
                let Fields::Named(fields) = item.fields else { panic!("{}: fields without names", item.ident) };
                let is_c = item.attrs.iter().any(|a| a.path().is_ident("repr"));
                assert!(is_c, "{}: is not repr(C)", item.ident);
                let fields = fields.named.iter().map(|field| Field {
                    name: field.ident.as_ref().unwrap().to_string(),
                    of: c_type(&field.ty),
                    doc: doc(&field.attrs),
                });
                let (name, doc, fields) = (item.ident.to_string(), doc(&item.attrs), fields.collect());
                items.push(Declaration::Struct(Struct { name, doc, fields, versioned: None }));
            }
            Item::Type(item) if is_public(&item.vis) => {
                items.push(Declaration::Callback(callback(&item.ident.to_string(), doc(&item.attrs), &item.ty)));
            }
            Item::Fn(item) if is_public(&item.vis) && item.sig.abi.is_some() => {
                let parameters = item.sig.inputs.iter().map(|input| match input {
                    FnArg::Typed(input) => match &*input.pat {
                        syn::Pat::Ident(name) => (name.ident.to_string(), c_type(&input.ty)),
                        _ => panic!("{}: a parameter without a name", item.sig.ident),
                    },
                    FnArg::Receiver(_) => panic!("{}: takes self", item.sig.ident),
                });
                let exported = item.attrs.iter().any(|a| a.path().is_ident("unsafe"));
                assert!(exported, "{}: is not exported", item.sig.ident);
                items.push(Declaration::Function(Function {
                    name: item.sig.ident.to_string(),
                    doc: doc(&item.attrs),
                    parameters: parameters.collect(),
                    returns: returned(&item.sig.output),
                }));
            }
            Item::Macro(item) => {
                let name = item.mac.path.get_ident().map(Ident::to_string).unwrap_or_default();
                match name.as_str() {
                    "enumeration" => items.push(Declaration::Enumeration(item.mac.parse_body().unwrap())),
                    "handle" => {
                        let HandleMacro { handle, free } = item.mac.parse_body().unwrap();
                        items.extend([handle, free]);
                    }
                    "versioned" => {
                        let VersionedMacro { of, name, size } = item.mac.parse_body().unwrap();
                        versioned.insert(of, (name, size));
                    }
                    other => panic!("{}: the macro {other} is not known here", path.display()),
                }
            }
            _ => {}
        }
    }
    for item in &mut items {
        if let Declaration::Struct(item) = item {
            item.versioned = versioned.remove(&item.name);
        }
    }
    assert!(versioned.is_empty(), "versioned! without a struct: {versioned:?}");
    Section { title, items }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Documentation comments: lines without their first blank.
fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter(|a| a.path().is_ident("doc")).filter_map(|a| {
        match &a.meta.require_name_value().ok()?.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        }
    });
    lines.map(|line| line.strip_prefix(' ').unwrap_or(&line).to_string()).collect::<Vec<_>>().join("\n")
}

fn constant(value: &Expr) -> Option<String> {
    match value {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => Some(number.base10_digits().to_string()),
            _ => None,
        },
        Expr::Path(path) => {
            match path.path.segments.iter().map(|s| s.ident.to_string()).collect::<Vec<_>>().join("::").as_str() {
                "u64::MAX" => Some("UINT64_MAX".to_string()),
                _ => None,
            }
        }
        _ => None,
    }
}

fn returned(output: &ReturnType) -> CType {
    match output {
        ReturnType::Default => CType::VOID,
        ReturnType::Type(_, of) => c_type(of),
    }
}

fn callback(name: &str, doc: String, of: &Type) -> Function {
    let Type::Path(option) = of else { panic!("{name}: is no callback") };
    let last = option.path.segments.last().unwrap();
    let syn::PathArguments::AngleBracketed(inner) = &last.arguments else { panic!("{name}: is no callback") };
    let Some(syn::GenericArgument::Type(Type::BareFn(function))) = inner.args.first() else {
        panic!("{name}: is no callback")
    };
    let parameters = function.inputs.iter().map(|input| {
        let (parameter, _) = input.name.as_ref().unwrap_or_else(|| panic!("{name}: a parameter without a name"));
        (parameter.to_string(), c_type(&input.ty))
    });
    Function { name: name.to_string(), doc, parameters: parameters.collect(), returns: returned(&function.output) }
}

fn c_type(of: &Type) -> CType {
    match of {
        Type::Path(path) => {
            let name = path.path.segments.last().unwrap().ident.to_string();
            CType::plain(match name.as_str() {
                "u8" => "uint8_t",
                "u32" => "uint32_t",
                "i64" => "int64_t",
                "u64" => "uint64_t",
                "usize" => "size_t",
                "f32" => "float",
                "f64" => "double",
                "c_char" => "char",
                "c_void" => "void",
                name if name.starts_with("kinglet_") => name,
                other => panic!("the type {other} has no form in C here"),
            })
        }
        Type::Ptr(pointer) => {
            let inner = c_type(&pointer.elem);
            let constant = pointer.const_token.is_some();
            assert!(!constant || inner.stars == 0, "a pointer to const pointers");
            CType { constant: inner.constant || constant, stars: inner.stars + 1, ..inner }
        }
        _ => panic!("a type that has no form in C here"),
    }
}

impl Parse for Enumeration {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let docs = doc(&input.call(Attribute::parse_outer)?);
        input.parse::<Token![pub]>()?;
        input.parse::<Token![type]>()?;
        let name = input.parse::<Ident>()?.to_string();
        input.parse::<Token![,]>()?;
        let name_function = input.parse::<Ident>()?.to_string();
        input.parse::<Token![;]>()?;
        let mut values = Vec::new();
        while !input.is_empty() {
            let doc = doc(&input.call(Attribute::parse_outer)?);
            let constant = input.parse::<Ident>()?.to_string();
            input.parse::<Token![=]>()?;
            let number = input.parse::<LitInt>()?.base10_parse()?;
            input.parse::<Token![,]>()?;
            let text = input.parse::<LitCStr>()?.value().into_string().expect("names are UTF-8");
            if input.parse::<Token![,]>().is_ok() {
                input.parse::<syn::Path>()?;
            }
            input.parse::<Token![;]>()?;
            values.push(Value { constant, number, text, doc });
        }
        Ok(Self { name, doc: docs, name_function, values })
    }
}

struct HandleMacro {
    handle: Declaration,
    free: Declaration,
}

impl Parse for HandleMacro {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let docs = doc(&input.call(Attribute::parse_outer)?);
        input.parse::<Token![pub]>()?;
        input.parse::<Token![struct]>()?;
        let name = input.parse::<Ident>()?.to_string();
        input.parse::<Token![:]>()?;
        input.parse::<Type>()?;
        input.parse::<Token![,]>()?;
        let parameter = input.parse::<LitStr>()?.value();
        input.parse::<Token![;]>()?;
        let free_docs = doc(&input.call(Attribute::parse_outer)?);
        input.parse::<Token![pub]>()?;
        input.parse::<Token![fn]>()?;
        let free = input.parse::<Ident>()?.to_string();
        input.parse::<Token![;]>()?;
        let of = CType { name: name.clone(), constant: false, stars: 1 };
        let free = Function { name: free, doc: free_docs, parameters: vec![(parameter, of)], returns: CType::VOID };
        Ok(Self { handle: Declaration::Handle { name, doc: docs }, free: Declaration::Function(free) })
    }
}

struct VersionedMacro {
    of: String,
    name: String,
    size: usize,
}

impl Parse for VersionedMacro {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let of = input.parse::<Ident>()?.to_string();
        input.parse::<Token![,]>()?;
        let name = input.parse::<LitStr>()?.value();
        input.parse::<Token![,]>()?;
        let size = input.parse::<LitInt>()?.base10_parse()?;
        Ok(Self { of, name, size })
    }
}
