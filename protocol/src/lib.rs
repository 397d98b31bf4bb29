//! The OCO agent protocol: what goes over the wire between an agent and its server, and how it is proven genuine.
//!
//! Pure data and cryptography: no I/O, no clock, no global state. Both sides use it, so it holds only what the
//! protocol says, never what either side makes of it.
//!
//! | module | what lives there |
//! |---|---|
//! | [`rpc`] | the JSON-RPC envelope, the methods and their parameters |
//! | [`keyed`] | the older generation, in which keys travel in clear |
//! | [`inventory`] | what an agent reports about its computer |
//! | [`job`] | software jobs and the reports of their progress |
//! | [`policy`] | policies as sent by the server, by scope and key |
//! | [`password`] | encryption of rotated passwords |
//! | [`signature`] | HMAC signatures over exact body bytes |
//! | [`timestamp`] | the protocol's timestamps and the clock that only grows |
//! | [`key`] | shared secrets that never show themselves |
//! | [`lenient`] | deserialisation that accepts what real servers send |

pub mod inventory;
pub mod job;
pub mod key;
pub mod keyed;
pub mod lenient;
pub mod password;
pub mod policy;
pub mod rpc;
pub mod signature;
pub mod timestamp;

pub use key::Key;
pub use timestamp::Timestamp;
