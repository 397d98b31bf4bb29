//! Answers of a server to hello, update and job reports: what was understood means the same when it is sent again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oco_protocol::job::JobReportAnswer;
use oco_protocol::policy::UpdateAnswer;
use oco_protocol::rpc::{HelloAnswer, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

fuzz_target!(|body: &[u8]| {
    read_twice::<HelloAnswer>(body);
    read_twice::<UpdateAnswer>(body);
    read_twice::<JobReportAnswer>(body);
});

fn read_twice<P: Serialize + DeserializeOwned + PartialEq + Debug>(body: &[u8]) {
    let Ok(answer) = serde_json::from_slice::<Response<P>>(body) else {
        return;
    };
    let again = serde_json::to_string(&answer).expect("what came as JSON is JSON");
    let read: Response<P> = serde_json::from_str(&again).expect("what was understood is understood again");
    assert_eq!(read, answer);
    assert!(again.len() <= 2000 + 12 * body.len());
}
