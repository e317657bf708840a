//! The parameters of a change of a stack.

use std::collections::BTreeMap;

use crate::cloudformation::Stack;
use crate::stack::StackError;

/// What the zips were built for. Their template has it as the default, which an earlier value must not replace.
const ARCHITECTURE: &str = "Architecture";

/// The fields `Parameters` of a call: the values that are given, the earlier values of an existing stack, and otherwise the template's
/// defaults.
///
/// # Errors
/// [`StackError::NoParameter`]: the template doesn't have it.
pub(crate) fn fields(
    declared: &BTreeMap<String, Option<String>>,
    given: &BTreeMap<String, String>,
    earlier: Option<&Stack>,
) -> Result<Vec<(String, String)>, StackError> {
    if let Some(name) = given.keys().find(|name| !declared.contains_key(*name)) {
        let known: Vec<&str> = declared.keys().map(String::as_str).collect();
        return Err(StackError::NoParameter { name: name.clone(), known: known.join(", ") });
    }
    let is_kept = |name: &str| name != ARCHITECTURE && earlier.is_some_and(|stack| stack.parameters.contains_key(name));
    let value = |(name, default): (&String, &Option<String>)| match given.get(name) {
        Some(value) => Some((name.clone(), "ParameterValue", value.clone())),
        None if is_kept(name) => Some((name.clone(), "UsePreviousValue", "true".to_owned())),
        None => default.clone().map(|default| (name.clone(), "ParameterValue", default)),
    };
    let values = declared.iter().filter_map(value);
    let fields = values.enumerate().flat_map(|(at, (name, field, value))| {
        let part = |part: &str| format!("Parameters.member.{}.{part}", at + 1);
        [(part("ParameterKey"), name), (part(field), value)]
    });
    Ok(fields.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn fields_of(given: &[(&str, &str)], earlier: Option<&Stack>) -> Result<String, StackError> {
        let declared = [("Architecture", Some("x86_64")), ("New", Some("0")), ("Stage", Some("dev")), ("Must", None)];
        let declared = declared.map(|(name, default)| (name.to_owned(), default.map(str::to_owned))).into();
        let fields = fields(&declared, &texts(given), earlier)?;
        let fields = fields.chunks(2).map(|pair| format!("{} {} {}", pair[0].1, &pair[1].0[20..], pair[1].1));
        Ok(fields.collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn update_keeps_earlier_values_that_the_template_still_has() {
        let parameters = texts(&[("Stage", "prod"), ("Architecture", "arm64"), ("Removed", "1"), ("Must", "m")]);
        let earlier = Stack { parameters, ..Stack::default() };
        let fields = fields_of(&[("New", "5")], Some(&earlier)).expect("known names");
        let kept = "Must UsePreviousValue true, New ParameterValue 5, Stage UsePreviousValue true";
        assert_eq!(fields, format!("Architecture ParameterValue x86_64, {kept}"));
        let fields = fields_of(&[("Stage", "test")], Some(&earlier)).expect("known names");
        assert!(fields.ends_with("New ParameterValue 0, Stage ParameterValue test"), "{fields}");
    }

    #[test]
    fn creation_leaves_a_parameter_without_a_default_to_cloudformation() {
        let fields = fields_of(&[], None).expect("no names");
        assert_eq!(fields, "Architecture ParameterValue x86_64, New ParameterValue 0, Stage ParameterValue dev");
    }

    #[test]
    fn unknown_parameter_is_refused_with_the_known_ones() {
        let error = fields_of(&[("Stagee", "x")], None).expect_err("misspelt").to_string();
        assert_eq!(error, "the template has no parameter Stagee; it has Architecture, Must, New, Stage");
    }
}
