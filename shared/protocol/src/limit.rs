//! A limit together with its name, for messages.

use std::fmt;

/// A limit, with its name in [`crate::limits`]. [`crate::limit!`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The limit's name.
    pub name: &'static str,
    /// The maximum.
    pub most: usize,
}

/// `at most 64 are allowed (limit LABEL)`.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {} are allowed (limit {})", self.most, self.name)
    }
}

/// The [`Limit`] of this name.
#[macro_export]
macro_rules! limit {
    ($name:ident) => {
        $crate::limit::Limit { name: stringify!($name), most: $crate::limits::$name }
    };
}
