//! What an entry needs besides its nodes: outputs, updates, names, origins.

use kilngrad_ir::{Entry, Graph, Mode, Origin, OriginData, Site, StateId, Value, ValueName};

use super::Generator;
use super::source::WORDS;
use crate::recipe::{HEADER, Picks};

impl Generator {
    /// Ends the entry that is being built.
    pub(super) fn finish(&mut self) {
        let header = self.header;
        let mut picks = Picks::new(&header[9..HEADER]);
        let outputs = self.outputs(&mut picks);
        let updates = self.updates(&mut picks);
        self.name_values(&mut picks);
        let mut graph = std::mem::take(&mut self.graph);
        graph.set_results(outputs);
        let name = ["step", "predict"][self.case.program.entries.len()];
        let mode = [Mode::Train, Mode::Eval][self.case.program.entries.len()];
        let mut entry = Entry::new(name, mode, graph);
        let names = ["y", "loss", "output name", "ü", "_", "y.5"];
        let count = entry.graph.results().len();
        entry.outputs = names[..count].iter().map(|name| (*name).into()).collect();
        entry.checks = std::mem::take(&mut self.checks);
        entry.updates = updates;
        self.case.program.entries.push(entry);
        self.case.inputs.push(std::mem::take(&mut self.inputs));
        self.case.ranges.push(std::mem::take(&mut self.ranges));
    }

    /// The last value and a few others, the same one twice now and then.
    fn outputs(&mut self, picks: &mut Picks<'_>) -> Vec<Value> {
        let last = self.pick_where(&mut Picks::new(&[0]), |_| true);
        let mut outputs = vec![last.expect("there is always a value")];
        for _ in 0..picks.below(6) {
            outputs.push(self.pick(picks));
        }
        outputs
    }

    /// The updates that steps asked for, and for most other states a value of their type, if there
    /// is one.
    fn updates(&mut self, picks: &mut Picks<'_>) -> Vec<(StateId, Value)> {
        let asked = std::mem::take(&mut self.updates);
        let mut updates = Vec::new();
        for index in 0..self.case.program.states.len() {
            let id = StateId::from_index(index);
            if let Some(update) = asked.iter().find(|(updated, _)| *updated == id) {
                updates.push(*update);
                continue;
            }
            let ty = &self.case.program.state(id).ty;
            let same = |value: Value| self.graph.ty(value) == ty;
            if let Some(value) = self.pick_where(picks, same)
                && !picks.rarely(4)
            {
                updates.push((id, value));
            }
        }
        updates
    }

    /// Calls some values by words and some by other numbers.
    fn name_values(&mut self, picks: &mut Picks<'_>) {
        // Arguments are called by words already.
        let results = self.graph.nodes().flat_map(|(_, node)| node.results.clone());
        let results: Vec<Value> = results.collect();
        for value in results {
            match picks.byte() % 8 {
                6 => {
                    let word = picks.of(&WORDS);
                    let name = format!("{word}v{}", value.index());
                    let name = ValueName::word(&name).expect("a word with letters is a word");
                    self.graph.rename(value, name);
                }
                7 => {
                    // Numbers need not be in order.
                    let name = ValueName::Number(1_000_000 - value.index() as u32);
                    self.graph.rename(value, name);
                }
                _ => {}
            }
        }
    }
}

/// Where a node comes from, as a builder or a pass might say it.
pub(super) fn origin(picks: &mut Picks<'_>, graph: &Graph) -> Origin {
    let choice = picks.byte();
    if choice < 128 {
        return Origin::unknown();
    }
    let file = ["src/main.rs", "a file.rs", "größe \"x\".rs"][usize::from(choice % 3)];
    let site = Site { file: file.into(), line: 1 + u32::from(choice), column: 7 };
    let name = graph.values().last().map(|(_, data)| data.name.clone());
    let replaced = [name.clone(), Some(ValueName::Number(3))].into_iter().flatten();
    Origin::new(OriginData {
        site: (choice > 150).then_some(site),
        scope: ["", "net.hidden", "a \"scope\""][usize::from(choice / 3 % 3)].into(),
        cotangent_of: name.filter(|_| choice.is_multiple_of(7)),
        replaced: replaced.take(usize::from(choice / 16 % 3)).collect(),
    })
}
