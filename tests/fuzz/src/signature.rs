//! Fuzz target `signature`: the headers that GitLab signs a delivery with, one a line, then the body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::forge::link::ForgeKind;
use forge::signature::{Refused, check, sign};
use protocol::{Millis, SecretValue};

const KEY: &str = "a key";
const NOW: u64 = 1_700_000_000;

/// Headers of arbitrary text: they hold only if one of the signatures is that of these very bytes and the time is near. What is signed
/// as it should be holds, for five minutes, and under no other header, body or time.
///
/// # Panics
/// If the property is broken.
pub fn signature(data: &[u8]) {
    let mut lines = data.splitn(4, |byte| *byte == b'\n');
    let mut line = || std::str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let (id, time, given) = (line(), line(), line());
    let body = lines.next().unwrap_or_default();
    let right = signed(id, time, body);
    let is_right = given.split(' ').any(|one| one == right);
    let is_near = time.parse::<u64>().is_ok_and(|time| time.abs_diff(NOW) <= 300);
    let holds = asks(id, time, given, body, NOW).is_ok();
    assert_eq!(holds, is_right && is_near, "{id:?} {time:?} {given:?}");

    let now = NOW.to_string();
    let good = signed(id, &now, body);
    assert_eq!(asks(id, &now, &good, body, NOW), Ok(()));
    assert_eq!(asks(id, &now, &format!("v1,AAAA {good}"), body, NOW), Ok(()), "one of several holds");
    assert_eq!(asks(id, &now, &good, body, NOW + 301), Err(Refused::Old));
    assert_eq!(asks(id, &now, &good, body, NOW - 301), Err(Refused::Old));
    let later = (NOW + 1).to_string();
    assert_eq!(asks(id, &later, &good, body, NOW), Err(Refused::Wrong), "the time is signed");
    assert_eq!(asks(id, &now, &good, &[body, b" "].concat(), NOW), Err(Refused::Wrong), "the body is signed");
    assert_eq!(asks(&format!("{id}x"), &now, &good, body, NOW), Err(Refused::Wrong), "the id is signed");
}

fn signed(id: &str, time: &str, body: &[u8]) -> String {
    let bytes = [id.as_bytes(), b".", time.as_bytes(), b".", body].concat();
    format!("v1,{}", STANDARD.encode(sign(KEY.as_bytes(), &bytes)))
}

fn asks(id: &str, time: &str, signature: &str, body: &[u8], now: u64) -> Result<(), Refused> {
    let headers = [("webhook-id", id), ("webhook-timestamp", time), ("webhook-signature", signature)];
    let header = |name: &str| headers.iter().find(|(given, _)| *given == name).map(|(_, value)| *value);
    let secrets = [SecretValue::new(KEY).expect("a value")];
    check(ForgeKind::Gitlab, header, body, &secrets, Millis(now * 1000))
}
