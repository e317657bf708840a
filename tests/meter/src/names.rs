//! The kind of an item, from its keys.

/// The kind of the item under a key of the table `jobs`. A query has no single sort key, but its bounds begin like one.
#[must_use]
pub fn item(pk: &str, sk: Option<&str>) -> &'static str {
    match pk.split('#').next().unwrap_or_default() {
        "WF" => "workflow",
        "IDEM" => "idempotency",
        "POOL" => "pool",
        "WORKER" => "worker",
        "TOKEN" => "token",
        "AUDIT" => "audit",
        "SCHEMA" => "schema",
        "FORGE" if !pk.contains('#') => "link",
        "FORGE" => match sk.map(|sk| sk.split('#').next().unwrap_or_default()) {
            Some("D") => "delivery",
            Some("LIMIT") => "limit",
            _ => "ref",
        },
        "REPORT" => "report",
        "R" => match sk.map(|sk| sk.split('#').next().unwrap_or_default()) {
            Some("CTL") => "control",
            Some("DEF") => "definition",
            Some("SPEC") => "spec",
            Some("WAIT") => "shard",
            Some("OUT") => "output",
            _ => "job",
        },
        // Only the table of logs has other keys.
        _ => "log",
    }
}

/// The name of an index partition.
#[must_use]
pub fn index(pk: &str) -> &'static str {
    match pk.split('#').next().unwrap_or_default() {
        "READY" => "index ready",
        "OPEN" => "index open",
        "WORKFLOWS" => "index workflows",
        "WORKER" => "index worker",
        "FORGE-DUE" => "index due",
        _ => "index other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_of_the_table_has_a_name() {
        let keys = [
            (("WF#a", "META"), "workflow"),
            (("R#0a", "CTL"), "control"),
            (("R#0a", "DEF"), "definition"),
            (("R#0a#0", "JOB#00001"), "job"),
            (("R#0a#0", "OUT#00001#ff"), "output"),
            (("R#0a#3", "WAIT#00800#2"), "shard"),
            (("POOL", "x"), "pool"),
            (("WORKER#3", "x"), "worker"),
            (("FORGE", "acme#7"), "link"),
            (("FORGE#acme", "D#1-a"), "delivery"),
            (("FORGE#acme", "R#7#REF#refs/heads/main"), "ref"),
            (("REPORT#3", "acme#7#c#push#ci"), "report"),
        ];
        for ((pk, sk), name) in keys {
            assert_eq!(item(pk, Some(sk)), name);
        }
        assert_eq!(item("R#0a#0", None), "job");
        assert_eq!((index("READY#p#0"), index("OPEN"), index("OPEN#7")), ("index ready", "index open", "index open"));
    }
}
