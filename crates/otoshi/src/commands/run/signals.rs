//! Signals of this process, handed on to the command.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use otoshi_engine::Handle;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH},
    iterator::Signals,
};

/// How long a command has to end once it was asked to, before it is killed. As `docker stop` has it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Interrupts at a terminal that come so close together mean that the program is to end.
pub(super) const INSISTING: Duration = Duration::from_secs(3);

/// Begins to collect the signals that a command may want; before it starts, so that none is lost.
pub(super) fn collect() -> Option<Signals> {
    match Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH]) {
        Ok(signals) => Some(signals),
        Err(error) => {
            errln!("warning: signals do not reach the command: {error}");
            None
        }
    }
}

/// Hands the collected signals on to the command, from a thread that ends with this process; `resized` hears of this terminal's window.
pub(super) fn forward(
    signals: Option<Signals>,
    command: Handle,
    resized: impl Fn() -> bool + Send + 'static,
) {
    if let Some(mut signals) = signals {
        std::thread::spawn(move || {
            let interactive = std::io::stdin().is_terminal();
            let mut asked: Vec<Instant> = Vec::new();
            for signal in signals.forever() {
                // A terminal of its own says so itself.
                if signal == SIGWINCH && resized() {
                    continue;
                }
                command.signal(signal);
                if !matches!(signal, SIGINT | SIGTERM) {
                    continue;
                }
                // The first process of a pid namespace gets no signal that it has no handler for: who asks again is not left
                // waiting for ever. At a terminal the interrupt is also what a program like a shell goes on after.
                asked.push(Instant::now());
                let at_terminal = interactive && signal == SIGINT;
                let times = if at_terminal { 3 } else { 2 };
                let recent = asked.iter().filter(|time| !at_terminal || time.elapsed() < INSISTING).count();
                if recent >= times {
                    command.kill();
                } else if !at_terminal {
                    let command = command.clone();
                    std::thread::spawn(move || {
                        std::thread::sleep(PATIENCE);
                        command.kill();
                    });
                }
            }
        });
    }
}
