//! `sterna info`: what this machine has, and what would be used.

use clap::Args;
use serde_json::{Value, json};

use super::{DeviceFlags, Outcome, Verdict, failure};
use crate::gpu::{Adapter, adapters};

#[derive(Args)]
pub struct Flags {
    /// Print one JSON object as the last line of stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

pub fn run(flags: &Flags) -> Outcome {
    let choice = flags.device.choice();
    let found = pollster::block_on(adapters(&choice, true)).map_err(failure)?;
    let why = reason(&found, choice.adapter.is_some() || choice.backend.is_some());
    for (i, adapter) in found.iter().enumerate() {
        let mark = if i == 0 { "->" } else { "  " };
        super::say(format!("{mark} {}", adapter.info.name))?;
        for (key, value) in adapter.facts() {
            super::say(format!("     {key:<22} {value}"))?;
        }
        if i == 0 {
            super::say(format!("     {:<22} {why}", "used because"))?;
        }
        super::say("")?;
    }
    if flags.json {
        let all: Vec<Value> = found
            .iter()
            .map(|adapter| {
                let facts =
                    adapter.facts().into_iter().map(|(key, value)| (key.replace(' ', "_"), json!(value)));
                let mut all = serde_json::Map::from_iter(facts);
                all.insert("name".into(), json!(adapter.info.name));
                Value::Object(all)
            })
            .collect();
        let (used, backend) = (&found[0].info.name, found[0].backend());
        let line = json!({"adapters": all, "used": used, "used_backend": backend, "why": why});
        super::print_json("info", super::object(line))?;
    }
    Ok(Verdict::Yes)
}

fn reason(found: &[Adapter], asked: bool) -> String {
    let kind = found[0].kind();
    if asked {
        return "it is the best that fits --backend and --adapter".into();
    }
    if found.len() == 1 {
        return "it is the only adapter".into();
    }
    let rivals: Vec<&Adapter> = found[1..].iter().filter(|adapter| adapter.kind() == kind).collect();
    match rivals.first() {
        None => format!("{kind} is the best kind here"),
        Some(rival) if rival.backend() != found[0].backend() => {
            format!(
                "{} comes before {} for {kind}; --backend chooses another",
                found[0].backend(),
                rival.backend()
            )
        }
        Some(_) => {
            format!("it is the first of {} adapters of its kind; --adapter chooses another", rivals.len() + 1)
        }
    }
}
