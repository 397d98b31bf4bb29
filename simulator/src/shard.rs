//! Which part of a fleet a process runs: a pure function of an agent's index, so that shards need no coordinator.

use std::fmt;
use std::str::FromStr;

/// Shard `index` of `count`. Every agent belongs to exactly one shard; neighbours belong to different ones, so that each
/// shard has its even part of the ramp and, by chance, of the systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: u32,
}

/// A text that names no shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no shard: expected I/N with I from 0 to N - 1, such as 0/4 to 3/4")]
pub struct InvalidShard(String);

impl Default for Shard {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl Shard {
    /// The whole fleet.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Its number, from 0.
    pub fn index(self) -> u32 {
        self.index
    }

    /// How many shards there are.
    pub fn count(self) -> u32 {
        self.count
    }

    /// How many agents of a fleet of that size it has.
    pub fn size(self, fleet: u32) -> u32 {
        fleet / self.count + u32::from(self.index < fleet % self.count)
    }

    /// Its agents of a fleet of that size, in order.
    pub fn agents(self, fleet: u32) -> impl Iterator<Item = u32> {
        (0..self.size(fleet)).map(move |place| self.agent(place))
    }

    /// The agent at a place of it, from 0.
    pub fn agent(self, place: u32) -> u32 {
        place.saturating_mul(self.count).saturating_add(self.index)
    }

    /// The place of an agent; none if the agent is another shard's.
    pub fn place(self, agent: u32) -> Option<u32> {
        (agent % self.count == self.index).then_some(agent / self.count)
    }
}

impl FromStr for Shard {
    type Err = InvalidShard;

    fn from_str(text: &str) -> Result<Self, InvalidShard> {
        let parsed = text.split_once('/').and_then(|(index, count)| {
            let shard = Self {
                index: index.parse().ok()?,
                count: count.parse().ok()?,
            };
            (shard.index < shard.count).then_some(shard)
        });
        parsed.ok_or_else(|| InvalidShard(text.to_owned()))
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_agent_belongs_to_exactly_one_shard(fleet in 0u32..500, count in 1u32..20) {
            let mut agents = Vec::new();
            for index in 0..count {
                let shard = Shard { index, count };
                let own: Vec<_> = shard.agents(fleet).collect();
                for (place, agent) in (0..).zip(&own) {
                    prop_assert_eq!(shard.place(*agent), Some(place));
                }
                prop_assert_eq!(own.len(), shard.size(fleet) as usize);
                agents.extend(own);
            }
            agents.sort_unstable();
            prop_assert_eq!(agents, (0..fleet).collect::<Vec<_>>());
        }
    }

    #[test]
    fn shards_are_written_as_index_and_count() {
        assert_eq!("2/3".parse::<Shard>().unwrap().to_string(), "2/3");
        assert_eq!("0/1".parse(), Ok(Shard::WHOLE));
        for wrong in ["", "1", "3/3", "-1/2", "0/0", "a/b", "1/2/3"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
