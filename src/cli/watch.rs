//! `sterna watch`: the live view of a run on the whole terminal. `sterna train --watch` uses the same view. The
//! command reads the run's folder and changes nothing in it.

use std::io::{ErrorKind, IsTerminal, Stderr, Write, stderr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, poll, read};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use serde_json::Value;

use super::runs::{self, RUNS};
use super::train::log::Extent;
use super::{Failure, Outcome, Verdict, command, failure, interrupt, shown};
use crate::parameter::Role;
use crate::reason::unread;
use crate::report::{LEAST, Live, Subject, Weights};
use crate::store::{Checkpoint, Progress};
use crate::ternary::Packed;
use crate::train::{Epoch, MODEL, epochs, newest, trained_in};

#[derive(Args)]
#[command(after_help = NOTES)]
pub struct Flags {
    /// The run's folder. [default: the newest below runs/]
    run: Option<PathBuf>,
}

const NOTES: &str = "\
Shows loss and accuracy, the trits that flip in each layer, and what the first neurons look for. It reads metrics.jsonl \
and the checkpoint, which grow after every epoch, and writes nothing: q, Esc and Ctrl-C leave the run alone. Where \
there is no terminal of 80 x 20 characters, it prints a line for each epoch until nobody trains any more.

Examples:
  sterna watch
  sterna watch runs/NAME";

/// The interval at which a run's folder is read.
const PERIOD: Duration = Duration::from_millis(500);

pub fn run(flags: &Flags) -> Outcome {
    let none = || failure("runs/ holds no run: name its folder, or start one with `sterna train`");
    let path = flags.run.clone().or_else(|| newest(Path::new(RUNS))).ok_or_else(none)?;
    let mut run = Watched::open(path)?;
    interrupt::listen()?;
    match View::open() {
        Ok(view) => run.show(view),
        Err(reason) => {
            super::tell(format!("{reason}; a line for each epoch instead"));
            run.follow()
        }
    }
}

/// The folder of a run that another process fills.
struct Watched {
    path: PathBuf,
    extent: Extent,
    epochs: Vec<Epoch>,
    live: Live,
    /// The time of the last checkpoint that was read.
    saved: Option<SystemTime>,
    /// The reason why the run cannot be read now, and whether the reason is divergence.
    fault: Option<String>,
    diverged: bool,
}

impl Watched {
    fn open(path: PathBuf) -> Result<Watched, Failure> {
        let config = path.join("config.json");
        let read = std::fs::read(&config).map_err(|reason| match reason.kind() {
            _ if !path.is_dir() => "there is no folder of that name".into(),
            ErrorKind::NotFound => "it has no config.json".into(),
            _ => format!("its config.json cannot be read: {}", unread(&reason)),
        });
        let read = read.and_then(|bytes| {
            serde_json::from_slice(&bytes).map_err(|error| format!("its config.json is no JSON ({error})"))
        });
        let config: Value = read.map_err(|what| {
            let hint = runs::hint(&path)
                .unwrap_or_else(|| "name the folder of one, as `sterna runs` lists them".into());
            failure(format!("{} is no run's folder, {what}: {hint}", shown(&path)))
        })?;
        let extent = Extent::of(&config).ok_or_else(|| {
            failure(format!("{} describes no run that this version knows", shown(&path.join("config.json"))))
        })?;
        let word = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let side = |key: &str| config["data"][key].as_u64().unwrap_or(0) as usize;
        let live = Live {
            title: format!(
                "{} in {}, {} on {}, {}",
                runs::shape(&config),
                word(&config["config"]["precision"]),
                word(&config["data"]["name"]),
                word(&config["adapter"]),
                shown(&path)
            ),
            subject: extent.subject,
            total: extent.units(),
            size: [side("height"), side("width")],
            ..Live::default()
        };
        let (epochs, saved, fault, diverged) = (Vec::new(), None, None, false);
        let mut run = Watched { path, extent, epochs, live, saved, fault, diverged };
        run.look();
        Ok(run)
    }

    /// Reads new data from the folder.
    fn look(&mut self) {
        self.epochs = epochs(&self.path).unwrap_or_default();
        let model = self.path.join(MODEL);
        let written = std::fs::metadata(&model).and_then(|file| file.modified()).ok();
        // A file that cannot be read now is read next time.
        let loaded = (written.is_none() || written != self.saved).then(|| Checkpoint::load(&model));
        self.fault = loaded.as_ref().and_then(|loaded| loaded.as_ref().err().map(ToString::to_string));
        if let Some(Ok(file)) = loaded {
            self.saved = written;
            self.diverged = !file.run["diverged"].is_null();
            let steps = |at: &Progress| at.epoch * self.extent.steps + at.step;
            self.live.at = file.progress.as_ref().map_or(0, steps) as f64 / self.extent.unit() as f64;
            let first = file.parameters.iter().find(|saved| saved.parameter.role != Role::Gain);
            if let Some(first) = first.filter(|_| self.extent.subject == Subject::Digits) {
                let [rows, cols] = first.parameter.matrix();
                match first.parameter.role {
                    Role::Ternary => {
                        self.live.look(&Weights::Trits(&Packed::quantize(&first.values, rows, cols)));
                    }
                    _ => self.live.look(&Weights::Floats(&first.values, cols)),
                }
            }
        }
        self.live.points = self.epochs.iter().map(|epoch| self.extent.point(epoch)).collect();
        if let Some(last) = self.epochs.last() {
            let before = self.epochs.iter().rev().nth(1).map_or(0, |epoch| epoch.step);
            let unit = self.extent.unit() as f64;
            self.live.at = self.live.at.max(last.step as f64 / unit);
            self.live.sample = last.sample.clone();
            let labels = self.extent.labels_after(last.step).saturating_sub(self.extent.labels_after(before));
            self.live.speed = Some(labels as f64 / last.seconds).filter(|speed| speed.is_finite());
            let each = last.elapsed_seconds * unit / last.step as f64;
            self.live.left = Some(each * (self.live.total as f64 - self.live.at));
        }
    }

    /// The state of the run as text, with the command that continues it.
    fn state(&self) -> String {
        if self.epochs.last().is_some_and(|last| last.step >= self.extent.total) {
            return "finished".into();
        }
        match &self.fault {
            _ if trained_in(&self.path) => "training".into(),
            _ if self.diverged => "it diverged".into(),
            Some(fault) => format!("nobody trains, and nobody can go on: {fault}"),
            None => format!("nobody trains; go on: {}", command(&[&"train", &"--resume", &self.path])),
        }
    }

    fn show(&mut self, mut view: View) -> Outcome {
        loop {
            self.look();
            self.live.footer = format!("q, Esc: leave   {}", self.state());
            view.draw(&mut self.live);
            let next = Instant::now() + PERIOD;
            while let Some(left) = next.checked_duration_since(Instant::now()) {
                if view.key(left).is_some() || interrupt::asked() {
                    return Ok(Verdict::Yes);
                }
            }
        }
    }

    /// Prints a line for each epoch, until no process trains.
    fn follow(&mut self) -> Outcome {
        let mut told = 0;
        loop {
            let state = self.state();
            self.look();
            for epoch in &self.epochs[told.min(self.epochs.len())..] {
                super::say(self.extent.line(epoch))?;
            }
            told = self.epochs.len();
            if state != "training" || interrupt::asked() {
                super::tell(format!("{}: {state}", shown(&self.path)));
                return Ok(Verdict::Yes);
            }
            std::thread::sleep(PERIOD);
        }
    }
}

/// The action for a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Key {
    /// Leave the view: q and Esc.
    Leave,
    /// Interrupt the program: Ctrl-C, which sends no signal while the view is open.
    Interrupt,
}

/// The view on the whole terminal. It uses stderr, because stdout is for the result. Dropping it restores the
/// terminal.
pub struct View {
    terminal: Terminal<CrosstermBackend<Stderr>>,
    keys: Receiver<Key>,
    /// Whether the view still reads keys.
    open: Arc<AtomicBool>,
    /// Lines that are printed after the view was closed.
    held: Vec<String>,
}

/// Reads the keyboard in its own thread. Reading from a closed terminal may block forever, and a run must not wait
/// for it.
fn listen(open: Arc<AtomicBool>) -> Receiver<Key> {
    let (sender, keys) = channel();
    std::thread::spawn(move || {
        while open.load(Ordering::Relaxed) {
            let key = match poll(Duration::from_millis(100)) {
                Ok(true) => read().ok().and_then(asked),
                Ok(false) => None,
                Err(_) => Some(Key::Leave),
            };
            if key.is_some_and(|key| sender.send(key).is_err() || key == Key::Leave) {
                return;
            }
        }
    });
    keys
}

/// The action for an event, if there is one.
fn asked(event: Event) -> Option<Key> {
    let Event::Key(key) = event else { return None };
    match key.code {
        _ if key.kind == KeyEventKind::Release => None,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Interrupt),
        KeyCode::Char('q') | KeyCode::Esc => Some(Key::Leave),
        _ => None,
    }
}

impl View {
    /// Opens the view.
    ///
    /// # Errors
    /// If there is no suitable terminal. The text is the reason.
    pub fn open() -> Result<View, String> {
        let [columns, rows] = LEAST;
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb") && !cfg!(windows);
        if !stderr().is_terminal() || !std::io::stdin().is_terminal() {
            return Err("no live view: stdin and stderr are no terminal".into());
        }
        if dumb {
            return Err("no live view: the terminal is dumb, says TERM".into());
        }
        match size() {
            Ok((width, height)) if width >= columns && height >= rows => {}
            Ok((width, height)) => {
                return Err(format!(
                    "no live view: it needs {columns} x {rows} characters, here are {width} x {height}"
                ));
            }
            Err(error) => return Err(format!("no live view: the terminal does not say its size ({error})")),
        }
        let broken = |error: std::io::Error| {
            restore();
            format!("no live view: {error}")
        };
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                before(panic);
            }));
        });
        enable_raw_mode().map_err(broken)?;
        execute!(stderr(), EnterAlternateScreen).map_err(broken)?;
        let terminal = Terminal::new(CrosstermBackend::new(stderr())).map_err(broken)?;
        let open = Arc::new(AtomicBool::new(true));
        Ok(View { terminal, keys: listen(open.clone()), open, held: Vec::new() })
    }

    /// Draws a run. A terminal that accepts no output for a moment does not stop the run.
    pub fn draw(&mut self, live: &mut Live) {
        live.color = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let _ = self.terminal.draw(|frame| live.draw(frame));
    }

    /// The next key with an action, if one is pressed within `wait`.
    pub fn key(&mut self, wait: Duration) -> Option<Key> {
        self.keys.recv_timeout(wait).ok()
    }

    /// Keeps a line until the view is closed.
    pub fn hold(&mut self, line: String) {
        self.held.push(line);
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.open.store(false, Ordering::Relaxed);
        restore();
        self.held.drain(..).for_each(super::tell);
    }
}

/// Restores the terminal.
fn restore() {
    let _ = execute!(stderr(), LeaveAlternateScreen, ratatui::crossterm::cursor::Show);
    let _ = disable_raw_mode();
    let _ = stderr().flush();
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::KeyEvent;

    use super::*;

    #[test]
    fn three_keys_ask_for_something() {
        let key = |code, modifiers| asked(Event::Key(KeyEvent::new(code, modifiers)));
        let (none, control) = (KeyModifiers::NONE, KeyModifiers::CONTROL);
        assert_eq!(key(KeyCode::Char('q'), none), Some(Key::Leave));
        assert_eq!(key(KeyCode::Esc, none), Some(Key::Leave));
        assert_eq!(key(KeyCode::Char('c'), control), Some(Key::Interrupt));
        assert_eq!([key(KeyCode::Char('c'), none), key(KeyCode::Enter, none)], [None, None]);
        assert_eq!(asked(Event::Resize(80, 24)), None);
    }
}
