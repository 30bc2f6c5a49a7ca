//! Ctrl-C in `kinglet chat`, pressed on a real terminal (a pseudo-terminal): it stops a reply and not the program.

#![cfg(all(feature = "cli", unix))]

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::ptr::null_mut;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(120);

const CTRL_C: &[u8] = b"\x03";

/// Both ends of a new terminal.
fn terminal() -> (File, OwnedFd) {
    let (mut ours, mut theirs) = (0, 0);
    let (name, settings, size) = (null_mut(), null_mut(), null_mut());
    // SAFETY: both places are valid; name, settings and size are optional.
    let status = unsafe { libc::openpty(&mut ours, &mut theirs, name, settings, size) };
    assert_eq!(status, 0, "openpty: {}", std::io::Error::last_os_error());
    // SAFETY: openpty returned two open descriptors, which nothing else owns.
    unsafe { (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) }
}

/// What the program has written to the terminal and the test has not looked at.
struct Screen {
    output: Receiver<Vec<u8>>,
    text: String,
}

impl Screen {
    /// Waits for more.
    fn read(&mut self) {
        match self.output.recv_timeout(LONG) {
            Ok(piece) => self.text.push_str(&String::from_utf8_lossy(&piece)),
            Err(_) => panic!("nothing came after {:?}", self.text),
        }
    }

    /// Waits until `text` has appeared, and drops all up to its end.
    fn wait_for(&mut self, text: &str) {
        loop {
            if let Some(at) = self.text.find(text) {
                self.text.drain(..at + text.len());
                return;
            }
            self.read();
        }
    }
}

#[test]
fn ctrl_c_stops_a_reply_and_not_the_program() {
    let Some(model) = support::smollm2() else { return };
    let (mut ours, theirs) = terminal();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinglet"));
    command.args(["chat", "--precision", "int8", "--ignore-eos", "--max-new-tokens", "8000", "--model"]).arg(model);
    let stdio = || Stdio::from(theirs.try_clone().unwrap());
    command.stdin(stdio()).stdout(stdio()).stderr(stdio());
    // SAFETY: both calls may be made between fork and exec. They make the terminal the one that sends the child SIGINT.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            match libc::ioctl(0, libc::TIOCSCTTY as _, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    let mut child = command.spawn().unwrap();
    drop((command, theirs));
    let (sender, output) = channel();
    let mut reader = ours.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = reader.read(&mut buffer) {
            if sender.send(buffer[..read].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut screen = Screen { output, text: String::new() };
    screen.wait_for("> ");
    ours.write_all(b"Tell me a long story.\n").unwrap();
    // The terminal's echo of the question, then the reply's first words.
    screen.wait_for("story.\r\n");
    while screen.text.split_whitespace().count() < 3 {
        screen.read();
    }
    ours.write_all(CTRL_C).unwrap();
    screen.wait_for("stopped");
    screen.wait_for("> ");
    assert_eq!(child.try_wait().unwrap(), None, "the program ended with the reply");
    // At the prompt it ends the program, with the status that shells give for SIGINT.
    ours.write_all(CTRL_C).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
