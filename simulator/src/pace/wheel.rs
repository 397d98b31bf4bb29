//! A hashed timing wheel: agents by the time they are due, cheap to put in and to take out however many there are.

/// Width of a slot, milliseconds.
const SLOT_MS: u64 = 16;
/// Slots of one turn; entries further away stay in their slot for several turns.
const SLOTS: usize = 4096;

/// A waiting agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// When it is due, milliseconds after the start.
    pub due_ms: u64,
    /// Which agent.
    pub agent: u32,
    /// Its how manieth check-in.
    pub round: u32,
}

/// All waiting agents.
#[derive(Debug)]
pub struct Wheel {
    slots: Vec<Vec<Entry>>,
    /// The slot of the time advanced to, not reduced to one turn. Nothing waits before it.
    cursor: u64,
    len: usize,
}

impl Default for Wheel {
    fn default() -> Self {
        Self::new()
    }
}

impl Wheel {
    /// An empty wheel at time 0.
    pub fn new() -> Self {
        Self {
            slots: vec![Vec::new(); SLOTS],
            cursor: 0,
            len: 0,
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the entries, their reserve included.
    pub fn bytes(&self) -> usize {
        let slots = self.slots.iter();
        slots.map(|slot| slot.capacity() * size_of::<Entry>()).sum()
    }

    /// Puts an agent in. One that is overdue already comes out with the next call of [`Wheel::advance`].
    pub fn insert(&mut self, entry: Entry) {
        let slot = Self::index((entry.due_ms / SLOT_MS).max(self.cursor));
        self.slots[slot].push(entry);
        self.len += 1;
    }

    /// When the next one is due; none if nobody waits.
    pub fn next_due_ms(&self) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        let this_turn = (0..SLOTS as u64).find_map(|ahead| {
            let tick = self.cursor + ahead;
            let slot = &self.slots[Self::index(tick)];
            slot.iter()
                .map(|entry| entry.due_ms)
                .filter(|due| due / SLOT_MS <= tick)
                .min()
        });
        this_turn.or_else(|| self.slots.iter().flatten().map(|entry| entry.due_ms).min())
    }

    /// Takes out everybody due at `now_ms` or before, in the order of their times.
    pub fn advance(&mut self, now_ms: u64) -> Vec<Entry> {
        let last = (now_ms / SLOT_MS).max(self.cursor);
        let mut due = Vec::new();
        for tick in (self.cursor..=last).take(SLOTS) {
            due.extend(self.slots[Self::index(tick)].extract_if(.., |entry| entry.due_ms <= now_ms));
        }
        self.cursor = last;
        self.len -= due.len();
        due.sort_unstable();
        due
    }

    #[allow(clippy::cast_possible_truncation)] // below the number of slots
    fn index(tick: u64) -> usize {
        (tick % SLOTS as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// The model is a sorted set.
        #[test]
        fn wheel_behaves_like_a_sorted_set(
            steps in prop::collection::vec((prop::option::of(0u64..200_000), 0u64..90_000), 1..60),
        ) {
            let (mut wheel, mut model, mut now) = (Wheel::new(), BTreeSet::new(), 0u64);
            for (number, (insert, pass)) in (0u32..).zip(steps) {
                if let Some(due_ms) = insert {
                    let entry = Entry { due_ms, agent: number, round: 0 };
                    wheel.insert(entry);
                    model.insert(entry);
                }
                prop_assert_eq!(wheel.next_due_ms(), model.first().map(|entry| entry.due_ms));
                now += pass;
                let due = wheel.advance(now);
                let expected: Vec<_> = model.iter().copied().take_while(|entry| entry.due_ms <= now).collect();
                model.retain(|entry| entry.due_ms > now);
                prop_assert_eq!(due, expected);
                prop_assert_eq!(wheel.len(), model.len());
            }
        }
    }

    #[test]
    fn an_entry_several_turns_away_comes_out_in_its_own_turn() {
        let turn = SLOT_MS * SLOTS as u64;
        let mut wheel = Wheel::new();
        let entry = Entry {
            due_ms: 3 * turn + 5,
            agent: 1,
            round: 0,
        };
        wheel.insert(entry);
        assert_eq!(wheel.next_due_ms(), Some(entry.due_ms));
        assert_eq!(wheel.advance(2 * turn), []);
        assert_eq!(wheel.advance(3 * turn + 4), []);
        assert_eq!(wheel.advance(3 * turn + 5), [entry]);
        assert!(wheel.is_empty());
    }
}
