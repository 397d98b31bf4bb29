//! Software, stored once however many computers have it.
//!
//! A computer's software is one row: the sorted ids of what it has, as differences in variable-length integers (about
//! two bytes an item), rather than a row an item. An update that changes 90 of 1,800 items so writes one small row
//! instead of 180 of a table with 1,800 rows a computer, and a search reads about 20 MB for 10,000 computers with 1,000
//! items each, in one scan.

use super::connection::Pool;
use super::inventory::SoftwareItem;
use super::{Batch, Store, StoreError, placeholders};
use futures::TryStreamExt;
use futures::future::try_join_all;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use siphasher::sip128::{Hasher128, SipHasher13};
use sqlx::AssertSqlSafe;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::{PoisonError, RwLock};

/// Identity of a software item: the first half of the SHA-256 of its fields.
pub(crate) type Digest = [u8; 16];

/// Rows of one statement: below SQLite's limit of bound values whatever the columns.
const CHUNK: usize = 200;

/// Parts that a search is read in, each on a connection of its own where there are as many.
const SCANS: i64 = 2;

/// Identity of a software item in this process: a keyed hash of its fields, which takes a fifth of the time of a digest.
type Fingerprint = u128;

/// The ids of all known software.
pub(crate) struct SoftwareIndex {
    hasher: SipHasher13,
    ids: RwLock<HashMap<Fingerprint, i64, BuildHasherDefault<Folded>>>,
}

impl fmt::Debug for SoftwareIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftwareIndex").finish_non_exhaustive()
    }
}

impl Default for SoftwareIndex {
    fn default() -> Self {
        // Nobody outside can make two items that have one fingerprint.
        let random = RandomState::new();
        Self {
            hasher: SipHasher13::new_with_keys(random.hash_one(1), random.hash_one(2)),
            ids: RwLock::default(),
        }
    }
}

/// Hashes fingerprints, which are hashes already.
#[derive(Default)]
struct Folded(u64);

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_ne_bytes(word);
        }
    }
}

impl SoftwareIndex {
    /// Reads the index.
    pub(super) async fn load(pool: &Pool) -> Result<Self, sqlx::Error> {
        let index = Self::default();
        let mut rows = sqlx::query_as::<_, (i64, String, String, String)>(
            "SELECT id, name, version, description FROM software",
        )
        .fetch(pool);
        while let Some((id, name, version, description)) = rows.try_next().await? {
            let item = SoftwareItem {
                name: name.into(),
                version: version.into(),
                description: description.into(),
            };
            index.add([(index.fingerprint(&item), id)]);
        }
        drop(rows);
        Ok(index)
    }

    /// The lengths go in too, as in [`digest`].
    fn fingerprint(&self, item: &SoftwareItem<'_>) -> Fingerprint {
        let mut hasher = self.hasher;
        for field in [&item.name, &item.version, &item.description] {
            hasher.write_usize(field.len());
            hasher.write(field.as_bytes());
        }
        hasher.finish128().as_u128()
    }

    /// Splits items into the ids of known ones and the others.
    pub(crate) fn resolve(&self, items: Vec<SoftwareItem<'_>>) -> SoftwareList {
        let ids = self.ids.read().unwrap_or_else(PoisonError::into_inner);
        let mut list = SoftwareList::default();
        for item in items {
            let fingerprint = self.fingerprint(&item);
            match ids.get(&fingerprint) {
                Some(id) => list.known.push(*id),
                None => list.unknown.push(Unknown {
                    digest: digest(&item),
                    fingerprint,
                    item: item.into_owned(),
                }),
            }
        }
        list
    }

    /// Adds software that has been committed.
    pub(super) fn add(&self, new: impl IntoIterator<Item = (Fingerprint, i64)>) {
        self.ids
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(new);
    }
}

/// The software of a computer, as far as it is known.
#[derive(Debug, Default)]
pub(crate) struct SoftwareList {
    pub(crate) known: Vec<i64>,
    pub(crate) unknown: Vec<Unknown>,
}

/// Software that may have to be added to the database.
#[derive(Debug)]
pub(crate) struct Unknown {
    digest: Digest,
    fingerprint: Fingerprint,
    item: SoftwareItem<'static>,
}

impl SoftwareList {
    /// All ids, adding to the database what is not there yet. The second list holds what this batch has added.
    pub(super) async fn ids(
        &self,
        batch: &mut Batch,
    ) -> Result<(Vec<i64>, Vec<(Fingerprint, i64)>), sqlx::Error> {
        let mut ids = self.known.clone();
        let mut added = Vec::new();
        let mut seen = HashSet::new();
        let mut missing = Vec::new();
        for unknown in &self.unknown {
            match batch.new_software.get(&unknown.digest) {
                Some(id) => ids.push(*id),
                None if seen.insert(unknown.digest) => missing.push(unknown),
                None => {}
            }
        }
        // In one order everywhere: processes that share a database would otherwise wait for each other.
        missing.sort_unstable_by_key(|unknown| unknown.digest);
        for chunk in missing.chunks(CHUNK) {
            for (digest, id) in insert(batch, chunk).await? {
                batch.new_software.insert(digest, id);
                ids.push(id);
                let position = chunk.binary_search_by_key(&digest, |unknown| unknown.digest);
                added.extend(position.map(|position| (chunk[position].fingerprint, id)));
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok((ids, added))
    }
}

/// Inserts what is new and reads the ids of what is not: another process may have been faster.
async fn insert(batch: &mut Batch, items: &[&Unknown]) -> Result<Vec<(Digest, i64)>, sqlx::Error> {
    let sql = format!(
        "INSERT INTO software (digest, name, version, description) VALUES {} ON CONFLICT (digest) DO NOTHING \
         RETURNING id, digest",
        placeholders(items.len(), 4)
    );
    let mut query = sqlx::query_as::<_, (i64, Vec<u8>)>(AssertSqlSafe(sql)).persistent(items.len() == CHUNK);
    for Unknown { digest, item, .. } in items {
        query = query
            .bind(digest.as_slice())
            .bind(item.name.as_ref())
            .bind(item.version.as_ref())
            .bind(item.description.as_ref());
    }
    let mut rows = query.fetch_all(batch.connection()).await?;
    if rows.len() < items.len() {
        let inserted: HashSet<&[u8]> = rows.iter().map(|(_, digest)| digest.as_slice()).collect();
        let digests = items.iter().map(|unknown| unknown.digest.as_slice());
        let known: Vec<_> = digests.filter(|digest| !inserted.contains(digest)).collect();
        rows.extend(known_ids(batch, &known).await?);
    }
    Ok(rows
        .into_iter()
        .filter_map(|(id, digest)| Some((digest.try_into().ok()?, id)))
        .collect())
}

/// The ids of software that is there already, with its digests.
async fn known_ids(batch: &mut Batch, digests: &[&[u8]]) -> Result<Vec<(i64, Vec<u8>)>, sqlx::Error> {
    let sql = format!(
        "SELECT id, digest FROM software WHERE digest IN {}",
        placeholders(1, digests.len())
    );
    let mut query = sqlx::query_as(AssertSqlSafe(sql)).persistent(digests.len() == CHUNK);
    for digest in digests {
        query = query.bind(*digest);
    }
    query.fetch_all(batch.connection()).await
}

/// The lengths go in too, so that no two items share one text.
fn digest(item: &SoftwareItem<'_>) -> Digest {
    let mut hash = Sha256::new();
    for field in [&item.name, &item.version, &item.description] {
        hash.update((field.len() as u64).to_le_bytes());
        hash.update(field.as_bytes());
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&hash.finalize()[..16]);
    digest
}

/// Encodes sorted ids: the difference of each to the one before, seven bits a byte, the top bit set where more follow.
pub(super) fn encode(ids: &[i64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ids.len() * 2);
    let mut last = 0;
    for id in ids {
        let mut difference = id.wrapping_sub(last).cast_unsigned();
        last = *id;
        while difference >= 0x80 {
            bytes.push((difference & 0x7f) as u8 | 0x80);
            difference >>= 7;
        }
        bytes.push((difference & 0x7f) as u8);
    }
    bytes
}

/// Decodes what [`encode`] wrote; damaged bytes yield wrong ids, never a failure.
pub(super) fn decode(bytes: &[u8]) -> impl Iterator<Item = i64> + '_ {
    let mut rest = bytes.iter();
    let mut last = 0_i64;
    std::iter::from_fn(move || {
        let (mut difference, mut shift) = (0_u64, 0_u32);
        loop {
            let byte = *rest.next()?;
            difference |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        last = last.wrapping_add(difference.cast_signed());
        Some(last)
    })
}

/// Whether two ascending lists have an id in common; one step for each id, without hashing millions of them.
fn has_any(ids: impl Iterator<Item = i64>, wanted: &[i64]) -> bool {
    let mut wanted = wanted.iter().copied().peekable();
    for id in ids {
        while wanted.next_if(|next| *next < id).is_some() {}
        match wanted.peek() {
            Some(next) if *next == id => return true,
            Some(_) => {}
            None => return false,
        }
    }
    false
}

/// Cuts the ids up to `last` into ranges, first and last of each, to be read beside each other.
fn ranges(last: i64) -> impl Iterator<Item = (i64, i64)> {
    let length = last / SCANS + 1;
    (0..SCANS).map(move |range| (range * length + 1, (range + 1) * length))
}

/// Software of some name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[schema(as = Software)]
pub(crate) struct SoftwareView {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) description: String,
}

/// A computer that has the software searched for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub(crate) struct SoftwareComputer {
    id: i64,
    hostname: String,
}

impl Store {
    /// Software of exactly this name, in this version or any.
    pub(crate) async fn software_named(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<Vec<SoftwareView>, StoreError> {
        sqlx::query_as(
            "SELECT id, name, version, description FROM software WHERE name = ? AND (? IS NULL OR version = ?) \
             ORDER BY id",
        )
        .bind(name)
        .bind(version)
        .bind(version)
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::during("search software"))
    }

    /// The computers that have any of `software`: one scan of the compact rows, on as many connections as there are for it.
    pub(crate) async fn computers_with(
        &self,
        software: &[SoftwareView],
    ) -> Result<Vec<SoftwareComputer>, StoreError> {
        let failed = || StoreError::during("search computers by software");
        let mut wanted: Vec<i64> = software.iter().map(|software| software.id).collect();
        wanted.sort_unstable();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let last: Option<i64> = sqlx::query_scalar("SELECT MAX(computer_id) FROM computer_software")
            .fetch_one(&self.readers)
            .await
            .map_err(failed())?;
        let ranges = ranges(last.unwrap_or(0)).map(|(first, last)| self.holders(&wanted, first, last));
        let found = try_join_all(ranges).await.map_err(failed())?.concat();
        let mut computers = Vec::with_capacity(found.len());
        for chunk in found.chunks(CHUNK) {
            let sql = format!(
                "SELECT id, hostname FROM computers WHERE id IN {} ORDER BY id",
                placeholders(1, chunk.len())
            );
            let mut query = sqlx::query_as(AssertSqlSafe(sql)).persistent(chunk.len() == CHUNK);
            for id in chunk {
                query = query.bind(id);
            }
            computers.extend(query.fetch_all(&self.readers).await.map_err(failed())?);
        }
        Ok(computers)
    }

    /// The computers from `first` to `last` that have any of the software with the ids `wanted`, which ascend.
    async fn holders(&self, wanted: &[i64], first: i64, last: i64) -> Result<Vec<i64>, sqlx::Error> {
        let mut rows = sqlx::query_as::<_, (i64, Vec<u8>)>(
            "SELECT computer_id, ids FROM computer_software WHERE computer_id BETWEEN ? AND ? ORDER BY computer_id",
        )
        .bind(first)
        .bind(last)
        .fetch(&self.readers);
        let mut found = Vec::new();
        while let Some((computer, ids)) = rows.try_next().await? {
            if has_any(decode(&ids), wanted) {
                found.push(computer);
            }
        }
        Ok(found)
    }

    /// The software of one computer, by name.
    pub(crate) async fn software_of(&self, computer: i64) -> Result<Vec<SoftwareView>, StoreError> {
        let failed = || StoreError::during("read a computer's software");
        let row: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT ids FROM computer_software WHERE computer_id = ?")
                .bind(computer)
                .fetch_optional(&self.readers)
                .await
                .map_err(failed())?;
        let ids: Vec<i64> = decode(&row.unwrap_or_default()).collect();
        let mut software: Vec<SoftwareView> = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(CHUNK) {
            let sql = format!(
                "SELECT id, name, version, description FROM software WHERE id IN {}",
                placeholders(1, chunk.len())
            );
            let mut query = sqlx::query_as(AssertSqlSafe(sql)).persistent(chunk.len() == CHUNK);
            for id in chunk {
                query = query.bind(id);
            }
            software.extend(query.fetch_all(&self.readers).await.map_err(failed())?);
        }
        software.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        Ok(software)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sorted_ids_survive_a_round_trip(ids in proptest::collection::btree_set(1_i64..i64::MAX, 0..200)) {
            let ids: Vec<i64> = ids.into_iter().collect();
            prop_assert_eq!(decode(&encode(&ids)).collect::<Vec<_>>(), ids);
        }

        #[test]
        fn common_ids_are_found(
            a in proptest::collection::btree_set(0_i64..50, 0..10),
            b in proptest::collection::btree_set(0_i64..50, 0..10),
        ) {
            let wanted: Vec<i64> = b.iter().copied().collect();
            prop_assert_eq!(has_any(a.iter().copied(), &wanted), !a.is_disjoint(&b));
        }

        #[test]
        fn damaged_bytes_never_fail(bytes: Vec<u8>) {
            prop_assert!(decode(&bytes).count() <= bytes.len());
        }
    }

    #[test]
    fn ranges_have_every_computer_once() {
        for last in 0..50 {
            let mut ids = ranges(last).flat_map(|(first, last)| first..=last);
            assert!((1..=last).all(|id| ids.next() == Some(id)));
        }
    }

    #[test]
    fn neighbouring_ids_take_a_byte_each() {
        let ids: Vec<i64> = (1..=1800).collect();
        assert_eq!(encode(&ids).len(), 1800);
    }

    #[test]
    fn fields_are_kept_apart_in_the_digest() {
        let item = |name: &'static str, version: &'static str| SoftwareItem {
            name: name.into(),
            version: version.into(),
            description: "".into(),
        };
        assert_ne!(digest(&item("ab", "c")), digest(&item("a", "bc")));
        let index = SoftwareIndex::default();
        assert_ne!(
            index.fingerprint(&item("ab", "c")),
            index.fingerprint(&item("a", "bc"))
        );
        assert_eq!(
            index.fingerprint(&item("ab", "c")),
            index.fingerprint(&item("ab", "c"))
        );
    }
}
