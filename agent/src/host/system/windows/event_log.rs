//! The event log: queries, and the news of logons.

use super::text::{error, wide};
use crate::host::{HostError, Result};
use std::ffi::c_void;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use windows::Win32::Foundation::{
    ERROR_EVT_CHANNEL_NOT_FOUND, ERROR_INSUFFICIENT_BUFFER, ERROR_NO_MORE_ITEMS, ERROR_TIMEOUT,
};
use windows::Win32::System::EventLog::{
    EVT_HANDLE, EVT_SUBSCRIBE_NOTIFY_ACTION, EvtClose, EvtCreateBookmark, EvtNext, EvtQuery,
    EvtQueryChannelPath, EvtQueryReverseDirection, EvtRender, EvtRenderEventXml, EvtSeek,
    EvtSeekRelativeToBookmark, EvtSeekRelativeToFirst, EvtSeekStrict, EvtSubscribe,
    EvtSubscribeActionDeliver, EvtSubscribeToFutureEvents, EvtUpdateBookmark,
};
use windows::Win32::System::Rpc::RPC_S_INVALID_BOUND;
use windows::core::{HRESULT, PCWSTR};

/// Events that are fetched at a time.
const BATCH: usize = 64;
/// How long the log may take for a batch, ms.
const TIME_LIMIT: u32 = 30_000;
/// Most text of one event, bytes.
const MOST_BYTES: u32 = 1 << 20;

/// A handle of this interface.
#[derive(Debug)]
struct Handle(EVT_HANDLE);

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: opened by the system for this, and not used any more.
        let _ = unsafe { EvtClose(self.0) };
    }
}

/// Hands on the events that a query selects, newest first, each as XML, until `consume` breaks.
pub(super) fn query(
    channel: &str,
    query: &str,
    consume: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<()> {
    run(channel, query, consume).map_err(|error| HostError::new("query the event log", channel, error))
}

fn run(channel: &str, query: &str, consume: &mut dyn FnMut(&str) -> ControlFlow<()>) -> io::Result<()> {
    let mut results = open(channel, query)?;
    let mut place = Place::new()?;
    let mut size = BATCH;
    loop {
        match next(&results, size)? {
            Batch::Events(events) => {
                for event in &events {
                    match render(event) {
                        Ok(event) if consume(&event).is_break() => return Ok(()),
                        Ok(_) => {}
                        Err(error) => tracing::debug!(%error, "an event is left out"),
                    }
                }
                if let Some(last) = events.last() {
                    place.is_behind(last)?;
                }
            }
            Batch::End => return Ok(()),
            Batch::TooLarge => {
                if size > 1 {
                    size /= 2;
                } else {
                    tracing::debug!(channel, "an event that is too large is left out");
                    place.left_out += 1;
                }
                results = open(channel, query)?;
                if !place.is_in(&results) {
                    return Ok(());
                }
            }
            // The newest ones are what matters; a log of gigabytes may have no more of them.
            Batch::TooSlow if place.is_known => {
                tracing::warn!(channel, "the event log takes too long: older events are left out");
                return Ok(());
            }
            Batch::TooSlow => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// What the log hands out at a time.
#[derive(Debug)]
enum Batch {
    Events(Vec<Handle>),
    End,
    /// As many events as were wanted are more than fits into one answer of the log, which is limited to some megabytes. Where the
    /// results stand then is not said.
    TooLarge,
    TooSlow,
}

fn next(results: &Handle, size: usize) -> io::Result<Batch> {
    let mut batch = [0; BATCH];
    let batch = &mut batch[..size.min(BATCH)];
    let mut returned = 0;
    // SAFETY: the handle is open, and the batch lives until the function returns.
    match unsafe { EvtNext(results.0, batch, TIME_LIMIT, 0, &raw mut returned) } {
        Err(end) if end.code() == ERROR_NO_MORE_ITEMS.to_hresult() => return Ok(Batch::End),
        Err(large) if large.code() == HRESULT::from_win32(RPC_S_INVALID_BOUND.0.cast_unsigned()) => {
            return Ok(Batch::TooLarge);
        }
        Err(slow) if slow.code() == ERROR_TIMEOUT.to_hresult() => return Ok(Batch::TooSlow),
        next => next.map_err(error)?,
    }
    let returned = usize::try_from(returned).unwrap_or_default();
    let events: Vec<_> = batch
        .iter()
        .take(returned)
        .map(|event| Handle(EVT_HANDLE(*event)))
        .collect();
    Ok(if events.is_empty() {
        Batch::End
    } else {
        Batch::Events(events)
    })
}

/// How far a query has come: behind the event of a bookmark, and behind some that are left out.
#[derive(Debug)]
struct Place {
    bookmark: Handle,
    /// Whether there is an event in the bookmark.
    is_known: bool,
    left_out: i64,
}

impl Place {
    /// At the beginning.
    fn new() -> io::Result<Self> {
        // SAFETY: no text means a new one.
        let bookmark = unsafe { EvtCreateBookmark(PCWSTR::null()) }.map_err(error)?;
        Ok(Self {
            bookmark: Handle(bookmark),
            is_known: false,
            left_out: 0,
        })
    }

    /// Behind this event.
    fn is_behind(&mut self, event: &Handle) -> io::Result<()> {
        // SAFETY: both handles are open.
        unsafe { EvtUpdateBookmark(self.bookmark.0, event.0) }.map_err(error)?;
        (self.is_known, self.left_out) = (true, 0);
        Ok(())
    }

    /// Goes there in results that were opened anew: new events may have come before those. False: there is nothing behind it, or
    /// newer events have taken the place of the bookmark's.
    fn is_in(&self, results: &Handle) -> bool {
        let (bookmark, position, from) = if self.is_known {
            (
                Some(self.bookmark.0),
                1 + self.left_out,
                EvtSeekRelativeToBookmark,
            )
        } else {
            (None, self.left_out, EvtSeekRelativeToFirst)
        };
        // SAFETY: both handles are open.
        unsafe { EvtSeek(results.0, position, bookmark, None, from.0 | EvtSeekStrict.0) }.is_ok()
    }
}

/// The results of a query. A structured one names its channels itself, and the system then takes no other name.
fn open(channel: &str, query: &str) -> io::Result<Handle> {
    let query = query.trim();
    let is_structured = query.starts_with('<');
    let (channel, query) = (wide(channel)?, wide(if query.is_empty() { "*" } else { query })?);
    let path = if is_structured {
        PCWSTR::null()
    } else {
        PCWSTR(channel.as_ptr())
    };
    let flags = EvtQueryChannelPath.0 | EvtQueryReverseDirection.0;
    // SAFETY: both texts have their end marks and live until the function returns.
    let results = unsafe { EvtQuery(None, path, PCWSTR(query.as_ptr()), flags) };
    match results {
        Err(missing) if missing.code() == ERROR_EVT_CHANNEL_NOT_FOUND.to_hresult() => {
            Err(io::ErrorKind::NotFound.into())
        }
        results => Ok(Handle(results.map_err(error)?)),
    }
}

fn render(event: &Handle) -> io::Result<String> {
    let mut buffer: Vec<u16> = Vec::new();
    loop {
        let size = u32::try_from(buffer.len() * size_of::<u16>()).unwrap_or_default();
        let (mut used, mut properties) = (0, 0);
        // SAFETY: the buffer is as long as is said, and everything lives until the function returns.
        let rendered = unsafe {
            let start = buffer.as_mut_ptr().cast();
            let xml = EvtRenderEventXml.0;
            EvtRender(
                None,
                event.0,
                xml,
                size,
                Some(start),
                &raw mut used,
                &raw mut properties,
            )
        };
        match rendered {
            Err(short)
                if short.code() == ERROR_INSUFFICIENT_BUFFER.to_hresult()
                    && used > size
                    && used <= MOST_BYTES =>
            {
                buffer.resize((used as usize).div_ceil(size_of::<u16>()), 0);
            }
            Err(cause) => return Err(error(cause)),
            Ok(()) => {
                return Ok(super::text::from_wide(&buffer).to_string_lossy().into_owned());
            }
        }
    }
}

/// What is called at each event.
type Callback = Arc<dyn Fn() + Send + Sync>;

/// A subscription to events, until it is dropped.
#[derive(Debug)]
pub(super) struct Subscription(#[allow(dead_code)] Handle); // closed on drop

/// Calls `notify` from a thread of the system's at each event of a channel from now on that the query selects.
pub(super) fn subscribe(channel: &str, query: &str, notify: Callback) -> Result<Subscription> {
    let start = || -> io::Result<Subscription> {
        let (channel, query) = (wide(channel)?, wide(query)?);
        // Never freed: the system does not say when its last call is over. One of these is made in a process.
        let context: *const Callback = Box::into_raw(Box::new(notify));
        // SAFETY: the texts have their end marks; the context is of the type that the callback takes, and stays.
        let subscription = unsafe {
            EvtSubscribe(
                None,
                None,
                PCWSTR(channel.as_ptr()),
                PCWSTR(query.as_ptr()),
                None,
                Some(context.cast::<c_void>()),
                Some(deliver),
                EvtSubscribeToFutureEvents.0,
            )
        };
        Ok(Subscription(Handle(subscription.map_err(error)?)))
    };
    start().map_err(|error| HostError::new("subscribe to the event log", channel, error))
}

/// # Safety
/// The context is a [`Callback`].
unsafe extern "system" fn deliver(
    action: EVT_SUBSCRIBE_NOTIFY_ACTION,
    context: *const c_void,
    _event: EVT_HANDLE,
) -> u32 {
    if action == EvtSubscribeActionDeliver {
        // SAFETY: as promised by the caller, and never freed.
        let notify = unsafe { &*context.cast::<Callback>() };
        notify();
    }
    0
}
