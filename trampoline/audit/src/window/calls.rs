//! The order of calls between functions.

use crate::code::Code;
use crate::rule::{Finding, Rule};
use std::collections::BTreeSet;

/// Functions with all that they call before them, as far as no calls go round in circles.
pub struct Order {
    /// First instructions.
    pub functions: Vec<u64>,
    /// Calls that close a circle.
    pub circles: Vec<Finding>,
}

/// No function is called while it runs.
pub fn recursion(code: &Code<'_>, order: &Order) -> Rule {
    let calls: usize = code.functions.values().map(|function| function.calls.len() + function.tails.len()).sum();
    let figure = format!("{} functions, {calls} calls", code.functions.len());
    Rule::new("no recursion", "G10", figure, order.circles.clone())
}

/// Puts callees before their callers.
pub fn order(code: &Code<'_>) -> Order {
    let mut search = Search {
        code,
        done: BTreeSet::new(),
        path: Vec::new(),
        order: Order { functions: Vec::new(), circles: Vec::new() },
    };
    code.functions.keys().for_each(|start| search.visit(*start));
    search.order
}

struct Search<'c> {
    code: &'c Code<'c>,
    done: BTreeSet<u64>,
    path: Vec<u64>,
    order: Order,
}

impl Search<'_> {
    fn visit(&mut self, start: u64) {
        let Some(function) = self.code.functions.get(&start).filter(|_| self.done.insert(start)) else { return };
        self.path.push(start);
        for (at, target) in function.calls.iter().chain(&function.tails) {
            match (self.path.contains(target), self.code.instructions.get(at)) {
                (true, Some(call)) => self.order.circles.push(self.code.finding(call, "calls what is running already")),
                _ => self.visit(*target),
            }
        }
        self.path.pop();
        self.order.functions.push(start);
    }
}
