//! A leg of a matrix, and the names of axes and inputs.

use protocol::limits;

/// A combination of values: each axis of the matrix with its value. Of a job without a matrix it has no axes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leg {
    /// In the order in which the axes are written. A value that an included leg doesn't have is empty.
    pub values: Vec<(String, String)>,
    /// What the leg's job is called after the `@`. `None` without a matrix.
    pub suffix: Option<String>,
    /// The matrix has a problem, so that its axes and legs are not known. What names them isn't reported as well.
    pub unknown: bool,
}

impl Leg {
    pub fn value(&self, axis: &str) -> Option<&str> {
        self.values.iter().find(|(name, _)| name == axis).map(|(_, value)| value.as_str())
    }

    pub fn job_id(&self, job: &str) -> String {
        self.suffix.as_ref().map_or_else(|| job.to_owned(), |suffix| format!("{job}@{suffix}"))
    }
}

/// The variable of an axis or of an input: `PREFIX_` and its name in capitals, `-` as `_`.
pub(super) fn variable(prefix: &str, name: &str) -> String {
    format!("{prefix}_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// Whether this can be the name of an axis or an input.
pub(super) fn is_axis(name: &str) -> bool {
    name.len() <= limits::AXIS_NAME
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}
