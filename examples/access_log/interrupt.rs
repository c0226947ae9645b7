//! Ctrl-C: the first one ends the job cleanly, the second one at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// True once the user asked the job to end.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens to Ctrl-C from here on.
    pub fn listen() -> io::Result<Self> {
        let pressed = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // Signal handlers run in this order, so this one acts from the second time on.
            flag::register_conditional_default(signal, Arc::clone(&pressed))?;
            flag::register(signal, Arc::clone(&pressed))?;
        }
        Ok(Self(pressed))
    }

    /// True once the job should end.
    pub fn is_pressed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
