//! `kinglet chat`: a conversation on the terminal, or with messages from standard input, one a line.

use std::io::{self, BufRead, IsTerminal, Write};

use kinglet::{Model, Session};

use crate::args::Chat;
use crate::failure::{Failure, Outcome};
use crate::generate::printer;
use crate::output;

const HELP: &str = "/undo takes back the last question and answer, /reset all of them, /exit (or Ctrl-D) ends";

pub fn run(model: &Model, args: &Chat) -> Outcome<()> {
    let options = args.generation.options()?;
    let mut session = model.session()?;
    if let Some(system) = &args.system {
        session.add("system", system);
    }
    let first = session.messages().len();
    let interactive = io::stdin().is_terminal();
    if interactive {
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
                let result = session.send(text, &options, Some(&mut listener));
                drop(listener);
                failure.map_or(Ok(()), Err)?;
                io::stdout().write_all(b"\n").map_err(Failure::output)?;
                // A chat goes on after a question that could not be answered, if there is somebody to go on.
                match result {
                    Err(error) if interactive => output::note(error.message()),
                    result => drop(result?),
                }
                if args.verbose {
                    tell(model, &session);
                }
            }
        }
    }
}

fn tell(model: &Model, session: &Session) {
    let kilobytes = model.cache_bytes() / 1024;
    output::note(&format!("{} tokens held, {kilobytes} KB of cache", session.held_tokens()));
}
