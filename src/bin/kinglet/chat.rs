//! `kinglet chat`: a chat on the terminal, with messages from standard input, one per line, or one reply to a chat in a file.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

use kinglet::{ChatOptions, GenerateOptions, Message, Model, Session, Status, ToolCall, ToolChoice};
use serde_json::json;

use crate::args::Chat;
use crate::failure::{Failure, Outcome};
use crate::generate::printer;
use crate::{files, interrupt, output};

const HELP: &str =
    "Ctrl-C stops a reply. /undo removes the last question and reply, /reset all of them; /exit or Ctrl-D ends";

/// The longest file that is read, in bytes.
const LIMIT: u64 = 16 << 20;

pub fn run(model: &Model, args: &Chat) -> Outcome<()> {
    let options = options(args)?;
    let mut session = model.session_with(&chat_options(args)?)?;
    if let Some(path) = &args.messages {
        return answer(&mut session, path, args.render, &options);
    }
    if let Some(system) = &args.system {
        session.add("system", system);
    }
    let first = session.messages().len();
    let interactive = io::stdin().is_terminal();
    if interactive {
        interrupt::handle()?;
        output::note(HELP);
    }
    // Calls of the last reply that wait for their results.
    let mut calls: Vec<ToolCall> = Vec::new();
    let mut lines = io::stdin().lock().lines();
    loop {
        if interactive {
            output::to_stderr("> ");
        }
        let Some(line) = lines.next() else { return Ok(()) };
        let line = line.map_err(|e| Failure::new(format!("standard input: {e}")))?;
        let before = session.messages().len();
        match line.trim() {
            "" => continue,
            "/exit" => return Ok(()),
            "/reset" => {
                session.rewind(first);
                calls.clear();
                continue;
            }
            "/undo" => {
                let last = session.messages().iter().rposition(|message| message.role == "user");
                session.rewind(last.unwrap_or(first).max(first));
                calls.clear();
                continue;
            }
            "/help" => {
                output::note(HELP);
                continue;
            }
            text => match text.strip_prefix("/tool ") {
                None => {
                    session.add("user", text);
                    calls.clear();
                }
                Some(_) if calls.is_empty() => {
                    output::note("/tool: the last reply calls no tool, or its calls have their results");
                    continue;
                }
                Some(result) => {
                    session.add_message(result_of(&calls.remove(0), result)?);
                    if !calls.is_empty() {
                        continue;
                    }
                }
            },
        }
        match generate(&mut session, &options)? {
            Ok(reply) => {
                calls = reply.tool_calls();
                for call in &calls {
                    output::note(&format!("calls {} with {}; /tool RESULT answers it", call.name, call.arguments));
                }
            }
            // On a terminal the chat continues after a question that could not be answered.
            Err(error) if interactive => {
                session.rewind(before);
                output::note(match error.status() {
                    Status::Cancelled => "stopped; the question and its reply are forgotten",
                    _ => error.message(),
                });
            }
            Err(error) => return Err(error.into()),
        }
        if args.verbose {
            report(model, &session);
        }
    }
}

/// Prints a reply while it is generated.
fn generate(session: &mut Session, options: &GenerateOptions) -> Outcome<Result<Message, kinglet::Error>> {
    let mut failure = None;
    let mut listener = printer(&mut failure);
    let result = interrupt::stoppable(|cancellation| {
        let options = GenerateOptions { cancellation: Some(cancellation.clone()), ..options.clone() };
        session.reply(&options, Some(&mut listener))
    });
    drop(listener);
    failure.map_or(Ok(()), Err)?;
    io::stdout().write_all(b"\n").map_err(Failure::output)?;
    Ok(result.map(|output| output.message.unwrap_or_else(|| Message::new("assistant", output.text))))
}

/// Answers a chat in a file once.
fn answer(session: &mut Session, path: &Path, render: bool, options: &GenerateOptions) -> Outcome<()> {
    let path = (path != Path::new("-")).then_some(path);
    for message in Message::list_from_json(&files::document(path, LIMIT)?)? {
        session.add_message(message);
    }
    let text = match render {
        true => session.prompt(None)?,
        false => {
            let reply = session.reply(options, None)?;
            reply.message.unwrap_or_else(|| Message::new("assistant", reply.text)).to_json()
        }
    };
    writeln!(io::stdout(), "{text}").map_err(Failure::output)
}

/// The message with the result of a call.
fn result_of(call: &ToolCall, result: &str) -> Outcome<Message> {
    let message = json!({"role": "tool", "name": call.name, "tool_call_id": call.id, "content": result});
    Ok(Message::from_json(&message.to_string())?)
}

fn options(args: &Chat) -> Outcome<GenerateOptions> {
    let tool_choice = args.tool_choice.as_deref().map_or(ToolChoice::Auto, ToolChoice::named);
    Ok(GenerateOptions { tool_choice, ..args.generation.options_of_text()? })
}

fn chat_options(args: &Chat) -> Outcome<ChatOptions> {
    let read = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| files::text(path, LIMIT)).transpose();
    Ok(ChatOptions {
        tools: read(&args.tools)?,
        documents: read(&args.documents)?,
        template_variables: args.template_variables.clone(),
        tool_format: args.tool_format,
        ..ChatOptions::default()
    })
}

fn report(model: &Model, session: &Session) {
    let cache = output::bytes(model.cache_bytes());
    output::note(&format!("{} tokens in the KV cache, {cache}", session.held_tokens()));
}
