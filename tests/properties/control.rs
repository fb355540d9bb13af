//! The control protocol: whatever a line has, it is understood or refused, and what was understood
//! is printed as a line that says the same.

use bdaemon::control::protocol::{Greeting, Reply, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Any lines, as the daemon reads requests and as bdaemonctl reads what it is answered.
pub fn check(data: &[u8]) {
    for line in data.split(|byte| *byte == b'\n') {
        said_again::<Request>(line);
        said_again::<Reply>(line);
        said_again::<Greeting>(line);
    }
}

fn said_again<T: Serialize + DeserializeOwned>(line: &[u8]) {
    let Ok(understood) = serde_json::from_slice::<T>(line) else { return };
    let said = serde_json::to_vec(&understood).expect("what was understood can be said");
    assert!(!said.contains(&b'\n'), "one line: {:?}", String::from_utf8_lossy(&said));
    // Numbers in their longest form, and the keys that were left out.
    let most = line.len() * 4 + 256;
    assert!(said.len() <= most, "{} bytes became {}", line.len(), said.len());
    let again: T = serde_json::from_slice(&said).expect("what was said is understood");
    let (one, other) = (value(&understood), value(&again));
    assert!(is_same(&one, &other), "{one} became {other}");
}

fn value(what: &impl Serialize) -> Value {
    serde_json::to_value(what).expect("it was a line")
}

/// Whether two values are the same, but for the last digit of a fraction, which reading one may
/// cost.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= a.abs() * 1e-15
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| is_same(a, b)))
        }
        _ => one == other,
    }
}
