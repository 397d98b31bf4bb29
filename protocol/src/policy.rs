//! Policies as the server sends them: scope -> key -> value.

use crate::lenient;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The policies of one scope: `MODULE:path:key` -> value (string, integer, boolean, list or object).
pub type ScopePolicies = BTreeMap<String, Value>;

/// All policies of a computer, by scope: `machine`, or a user's GUID. Empty objects may arrive as `[]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Policies(#[serde(deserialize_with = "scopes")] pub BTreeMap<String, ScopePolicies>);

/// Scope of policies that hold for the whole computer.
pub const MACHINE_SCOPE: &str = "machine";

fn scopes<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, ScopePolicies>, D::Error> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Scope(#[serde(deserialize_with = "lenient::empty_list_as_default")] ScopePolicies);

    let scopes: BTreeMap<String, Scope> = lenient::empty_list_as_default(deserializer)?;
    Ok(scopes
        .into_iter()
        .map(|(name, Scope(policies))| (name, policies))
        .collect())
}

/// `params` of the answer to `oco.agent.update`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct UpdateAnswer {
    /// Every policy that is to hold. The answer to a computer's very first update has none, whatever there is. Without this
    /// key, or with null, an answer says nothing of policies: servers that know them always send their scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Policies>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_scopes_arrive_as_lists() {
        let answer: UpdateAnswer = serde_json::from_str(r#"{"policies":{"machine":[]}}"#).unwrap();
        let machine = answer.policies.unwrap().0.remove(MACHINE_SCOPE);
        assert_eq!(machine, Some(ScopePolicies::new()));
        let none: UpdateAnswer = serde_json::from_str(r#"{"policies":[]}"#).unwrap();
        assert!(none.policies.unwrap().0.is_empty());
    }

    #[test]
    fn an_answer_without_policies_says_nothing_of_them() {
        for wire in ["{}", r#"{"policies":null}"#] {
            let answer: UpdateAnswer = serde_json::from_str(wire).unwrap();
            assert_eq!(answer.policies, None, "{wire}");
        }
    }

    #[test]
    fn values_of_every_type_survive_a_round_trip() {
        let wire = r#"{"policies":{"machine":{"JSON:/p/f.json:policies\\Limits\\Max":7,"REGISTRY:Software\\X:L":["a","b"]},"{1B2C}":{"JSON:/x:y":"007"}}}"#;
        let answer: UpdateAnswer = serde_json::from_str(wire).unwrap();
        assert_eq!(
            serde_json::to_value(answer).unwrap(),
            serde_json::from_str::<Value>(wire).unwrap()
        );
    }
}
