//! What goes wrong on the server's side.

use super::values::Moment;
use crate::duration::Span;
use oco_mock_server::faults::{Fault, Rule, Selector};
use serde::Deserialize;
use toml::Spanned;

/// `[[fault]]`: a fault that a mock server commits on purpose.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerFault {
    /// Name in the report, unique in the scenario.
    pub name: Spanned<String>,
    /// From when on.
    pub at: Moment,
    /// For so long; none: to the end.
    #[serde(default, rename = "for")]
    pub lasts: Option<Span>,
    /// Which exchanges; all, if left out.
    #[serde(default)]
    pub select: Selector,
    /// What goes wrong.
    pub fault: Fault,
    /// So often it has to happen at least: a run in which it does not has tested nothing.
    #[serde(default = "once")]
    pub at_least: u32,
}

fn once() -> u32 {
    1
}

impl ServerFault {
    /// The rule as the server takes it.
    pub fn rule(&self) -> Rule {
        Rule {
            name: self.name.get_ref().clone(),
            select: self.select.clone(),
            fault: self.fault.clone(),
        }
    }
}
