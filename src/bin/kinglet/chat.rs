//! `kinglet chat`: a chat on the terminal, or with messages from standard input, one per line.

use std::io::{self, BufRead, IsTerminal, Write};

use kinglet::{GenerateOptions, Model, Session, Status};

use crate::args::Chat;
use crate::failure::{Failure, Outcome};
use crate::generate::printer;
use crate::{interrupt, output};

const HELP: &str =
    "Ctrl-C stops a reply. /undo removes the last question and reply, /reset all of them; /exit or Ctrl-D ends";

pub fn run(model: &Model, args: &Chat) -> Outcome<()> {
    let options = args.generation.options_of_text()?;
    let mut session = model.session()?;
    if let Some(system) = &args.system {
        session.add("system", system);
    }
    let first = session.messages().len();
    let interactive = io::stdin().is_terminal();
    if interactive {
        interrupt::handle()?;
        output::note(HELP);
    }
    let mut lines = io::stdin().lock().lines();
    loop {
        if interactive {
            output::to_stderr("> ");
        }
        let Some(line) = lines.next() else { return Ok(()) };
        let line = line.map_err(|e| Failure::new(format!("standard input: {e}")))?;
        match line.trim() {
            "" => continue,
            "/exit" => return Ok(()),
            "/reset" => session.rewind(first),
            "/undo" => session.rewind(session.messages().len().saturating_sub(2).max(first)),
            "/help" => output::note(HELP),
            text => {
                let mut failure = None;
                let mut listener = printer(&mut failure);
                let result = interrupt::stoppable(|cancellation| {
                    let options = GenerateOptions { cancellation: Some(cancellation.clone()), ..options.clone() };
                    session.send(text, &options, Some(&mut listener))
                });
                drop(listener);
                failure.map_or(Ok(()), Err)?;
                io::stdout().write_all(b"\n").map_err(Failure::output)?;
                // On a terminal the chat continues after a question that could not be answered.
                match result {
                    Err(error) if interactive && error.status() == Status::Cancelled => {
                        output::note("stopped; the question and its reply are forgotten");
                    }
                    Err(error) if interactive => output::note(error.message()),
                    result => drop(result?),
                }
                if args.verbose {
                    report(model, &session);
                }
            }
        }
    }
}

fn report(model: &Model, session: &Session) {
    let cache = output::bytes(model.cache_bytes());
    output::note(&format!("{} tokens in the KV cache, {cache}", session.held_tokens()));
}
