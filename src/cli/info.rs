//! `sterna info`: the adapters of this machine, and the one that Sterna would use.

use clap::Args;
use serde_json::{Value, json};

use super::{DeviceFlags, Outcome, Verdict, failure, ranks};
use crate::gpu::{Adapter, Choice, every_adapter, hidden_adapters, is_wsl};
use crate::report::folded;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Flags {
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

const EXAMPLES: &str = "\
The number before a name is what `--adapter` takes in every command; where two cards have one name, so is the PCI \
address.

Examples:
  sterna info
  sterna info --adapter 1               what the second of them is
  sterna train --adapter 0000:01:00.0   use the card at this address
  sterna info --json | jq .used";

pub fn run(flags: &Flags) -> Outcome {
    let world = ranks::told(&flags.device)?;
    let choice = flags.device.choice();
    let all = pollster::block_on(every_adapter());
    let hidden = pollster::block_on(hidden_adapters(&all));
    let notes = notes(&all, &hidden, is_wsl());
    let Some(&used) = choice.fitting(&all).first() else {
        notes.iter().for_each(super::warn);
        return Err(failure(choice.unmet(&all)));
    };
    let why = reason(&all, used, &choice);
    for (i, adapter) in all.iter().enumerate() {
        let mark = if i == used { "->" } else { "  " };
        super::say(format!("{mark} {i}  {}", adapter.info.name))?;
        for (key, value) in adapter.facts() {
            super::say(format!("     {key:<22} {}", folded(&value, 28)))?;
        }
        if i == used {
            super::say(format!("     {:<22} {}", "used because", folded(&why, 28)))?;
        }
        super::say("")?;
    }
    if let Some((line, _)) = &world {
        super::say(line)?;
    }
    for note in &notes {
        super::say(folded(note, 0))?;
    }
    if flags.json {
        let told: Vec<Value> = (0..)
            .zip(&all)
            .map(|(number, adapter): (usize, _)| {
                let facts = adapter
                    .facts()
                    .into_iter()
                    .map(|(key, value)| (key.replace(' ', "_").to_lowercase(), json!(value)));
                let mut facts = serde_json::Map::from_iter(facts);
                facts.insert("name".into(), json!(adapter.info.name));
                facts.insert("number".into(), json!(number));
                Value::Object(facts)
            })
            .collect();
        let hidden: Vec<String> = hidden.iter().map(Adapter::description).collect();
        let (rank, ranks) = world.map_or((0, 1), |(_, [rank, ranks])| (rank, ranks));
        let line = json!({
            "adapters": told, "used": all[used].info.name, "used_number": used, "used_backend": all[used].backend(),
            "why": why, "hidden": hidden, "notes": notes,
            "rank": rank, "ranks": ranks,
        });
        super::print_json("info", super::object(line))?;
    }
    Ok(Verdict::Yes)
}

fn reason(all: &[Adapter], used: usize, choice: &Choice) -> String {
    let (adapter, kind) = (&all[used], all[used].kind());
    let asked = [("--backend", &choice.backend), ("--adapter", &choice.adapter)];
    let asked = asked.into_iter().filter_map(|(flag, value)| Some(format!("{flag} {}", value.as_ref()?)));
    let asked: Vec<String> = asked.collect();
    if !asked.is_empty() {
        let asked = asked.join(" and ");
        return match choice.fitting(all).len() {
            1 => format!("it is the one that {asked} names"),
            fitting => format!("it is the best of the {fitting} that fit {asked}"),
        };
    }
    if all.len() == 1 {
        return "it is the only adapter".into();
    }
    if let Some(better) = all.iter().find(|other| other.rank() < adapter.rank()) {
        let (backend, name) = (better.backend(), &better.info.name);
        return format!("{backend} is used only where it is asked for; --backend {backend} chooses {name}");
    }
    let rivals: Vec<&Adapter> = all.iter().filter(|other| other.rank() == adapter.rank()).collect();
    match rivals[..] {
        [_] => format!("{kind} is the best kind here"),
        [_, rival, ..] if rival.backend() != adapter.backend() => {
            let [own, other] = [adapter, rival].map(Adapter::backend);
            format!("{own} comes before {other} for {kind}; --backend chooses another")
        }
        _ => format!(
            "it is the first of {} adapters of its kind; --adapter with a number chooses another",
            rivals.len()
        ),
    }
}

/// Notes for people whose adapter is missing, or works only indirectly.
fn notes(all: &[Adapter], hidden: &[Adapter], wsl: bool) -> Vec<String> {
    let mut notes = Vec::new();
    for adapter in hidden {
        notes.push(format!(
            "wgpu hides {}, because its driver says that it does not conform to Vulkan. \
             WGPU_ALLOW_UNDERLYING_NONCOMPLIANT_ADAPTER=1 in the environment shows it; `sterna verify` then tells whether its integers are right.",
            adapter.description()
        ));
    }
    if all.iter().chain(hidden).any(Adapter::is_dzn) {
        notes.push(DZN.into());
    }
    if wsl {
        notes.push(WSL.into());
    }
    notes
}

const DZN: &str = "\
dzn, which calls itself Dozen, is Mesa's Vulkan over Microsoft's DX12. Two translators stand between a shader and the \
GPU: expect other times, and faults of its own.";

const WSL: &str = "\
This is WSL: a GPU of Windows is reached through Mesa alone, by dzn for Vulkan and by d3d12 for GL, where the \
distribution's Mesa has them. Sterna for Windows speaks to the same GPU directly, by DX12 or Vulkan.";
