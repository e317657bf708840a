//! The key `matrix`: one job for each combination of values.

use std::collections::{BTreeMap, BTreeSet};

use super::checker::Checker;
use super::leg::{Leg, is_axis, variable};
use super::node::{Entry, Kind, Node, Path};
use super::problem::Position;
use super::report::quote;
use protocol::{limit, limits};

/// Keys of `matrix` that are no axes.
const INCLUDE: &str = "include";
const EXCLUDE: &str = "exclude";
/// The key of an included leg that names it.
const ID: &str = "id";

/// A leg of `include` or `exclude`.
struct Written {
    at: Position,
    /// In the order of the file, those without a problem.
    values: Vec<(String, String)>,
    id: Option<String>,
    /// Whether all of it could be read. If not, the problem was reported.
    whole: bool,
}

impl Written {
    fn value(&self, axis: &str) -> Option<&str> {
        self.values.iter().find(|(name, _)| name == axis).map(|(_, value)| value.as_str())
    }

    fn has_all_of(&self, other: &Self) -> bool {
        other.values.iter().all(|(axis, value)| self.value(axis) == Some(value))
    }
}

/// An axis as written.
struct Axis<'n> {
    name: &'n str,
    /// `None` if they have a problem, which was reported.
    values: Option<Vec<String>>,
}

impl<'a> Checker<'a> {
    /// The legs of a job's matrix, at least one. Of a matrix with a problem it is one unknown leg.
    pub(super) fn legs(&mut self, matrix: Option<&'a Node>, job: &str, path: Path<'_>) -> Vec<Leg> {
        let Some(node) = matrix else { return vec![Leg::default()] };
        self.matrix(node, job, path).unwrap_or_else(|| vec![Leg { unknown: true, ..Leg::default() }])
    }

    fn matrix(&mut self, node: &'a Node, job: &str, path: Path<'_>) -> Option<Vec<Leg>> {
        let entries = self.mapping(node, path, "a mapping of axes to lists, such as `{arch: [amd64, arm64]}`")?;
        let mut axes = Vec::new();
        let mut keys = BTreeSet::new();
        for Entry { key, key_at, value } in entries.iter().filter(|entry| entry.key != INCLUDE && entry.key != EXCLUDE)
        {
            self.axis_name(key, *key_at, path.key(key));
            // A key that is there twice was reported. Which of its values are meant is not known.
            let values = self.axis_values(key, value, path.key(key)).filter(|_| keys.insert(key));
            axes.push(Axis { name: key, values });
        }
        let list = |key| entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value);
        let included = self.written_legs(list(INCLUDE), path.key(INCLUDE), true);
        let excluded = self.written_legs(list(EXCLUDE), path.key(EXCLUDE), false);
        self.excludes_something(excluded.as_deref().unwrap_or_default(), &axes, path.key(EXCLUDE));
        let added = included.as_deref().unwrap_or_default();
        let names = names(&axes, added);
        self.at_most(names.len(), limit!(MATRIX_AXES), "axes", node.at, path);
        self.distinct_variables(&names, node.at, path);
        // An axis with a problem will have at least one value.
        let mut sizes = axes.iter().map(|axis| axis.values.as_ref().map_or(1, Vec::len));
        let product = sizes.try_fold(1_usize, usize::checked_mul);
        let count = if axes.is_empty() { Some(0) } else { product }.and_then(|n| n.checked_add(added.len()));
        if count.is_none_or(|count| count > limits::MATRIX_LEGS) {
            let message = format!(
                "this matrix has over {} combinations (limit MATRIX_LEGS); use fewer values or several jobs",
                limits::MATRIX_LEGS
            );
            self.report.add("too_many", node.at, path, message);
            return None;
        }
        if names.len() > limits::MATRIX_AXES {
            return None;
        }
        let axes = axes.into_iter().map(|axis| Some((axis.name, axis.values?))).collect::<Option<Vec<_>>>()?;
        let (included, excluded) = (included?, excluded?);
        if !included.iter().chain(&excluded).all(|leg| leg.whole) {
            return None;
        }
        self.note_missing_values(&axes, &included, path.key(INCLUDE));
        let mut legs = combinations(&axes, node.at);
        legs.retain(|leg| !excluded.iter().any(|excluded| leg.has_all_of(excluded)));
        legs.extend(included);
        if legs.is_empty() {
            let message = "no combination is left; write at least one value for each axis, and exclude fewer";
            self.report.add("empty_matrix", node.at, path, message);
            return None;
        }
        self.named(&names, legs, job, node.at, path)
    }

    /// In other systems `include` adds values to combinations that there are.
    fn note_missing_values(&mut self, axes: &[(&str, Vec<String>)], included: &[Written], path: Path<'_>) {
        for (n, leg) in included.iter().enumerate() {
            let Some((missing, _)) = axes.iter().find(|(name, _)| leg.value(name).is_none()) else { continue };
            let missing = quote(missing);
            let message = format!(
                "`include` adds whole combinations, and this one has no {missing}, so {missing} is empty in it"
            );
            self.notes.add("incomplete_combination", leg.at, path.index(n), message);
        }
    }

    fn axis_name(&mut self, name: &str, at: Position, path: Path<'_>) {
        if !is_axis_name(name) {
            let message = format!(
                "{} can't be the name of an axis; use A-Z a-z 0-9 _ -, beginning with a letter, at most {} bytes (limit AXIS_NAME), and not `id`",
                quote(name),
                limits::AXIS_NAME
            );
            self.report.add("bad_axis", at, path, message);
        }
    }

    fn axis_values(&mut self, name: &str, node: &Node, path: Path<'_>) -> Option<Vec<String>> {
        let Kind::List(items) = &node.kind else {
            self.wrong_type(node, path, "a list of values");
            return None;
        };
        if items.is_empty() {
            let message = format!("the axis {} has no values; write at least one, or remove the axis", quote(name));
            self.report.add("empty_matrix", node.at, path, message);
            return None;
        }
        let values: Vec<_> = items.iter().enumerate().map(|(n, item)| self.axis_value(item, path.index(n))).collect();
        values.into_iter().collect()
    }

    fn axis_value(&mut self, node: &Node, path: Path<'_>) -> Option<String> {
        let Kind::Scalar { text, .. } = &node.kind else {
            self.wrong_type(node, path, "a text or a number");
            return None;
        };
        self.no_nul(text, node.at, path);
        self.no_longer_than(limit!(MATRIX_VALUE), text.len(), node.at, path).then(|| text.clone())
    }

    /// The legs of `include` or `exclude`; `None` if it is no list.
    fn written_legs(&mut self, list: Option<&Node>, path: Path<'_>, may_have_id: bool) -> Option<Vec<Written>> {
        let Some(node) = list else { return Some(Vec::new()) };
        let Kind::List(items) = &node.kind else {
            self.wrong_type(node, path, "a list of combinations, such as `- {arch: arm64, mode: debug}`");
            return None;
        };
        Some(items.iter().enumerate().map(|(n, item)| self.written_leg(item, path.index(n), may_have_id)).collect())
    }

    fn written_leg(&mut self, node: &Node, path: Path<'_>, may_have_id: bool) -> Written {
        let mut leg = Written { at: node.at, values: Vec::new(), id: None, whole: true };
        let Some(entries) = self.mapping(node, path, "a combination, such as `{arch: arm64, mode: debug}`") else {
            return Written { whole: false, ..leg };
        };
        for Entry { key, key_at, value } in entries {
            let is_id = key == ID && may_have_id;
            if !is_id {
                self.axis_name(key, *key_at, path.key(key));
            }
            match self.axis_value(value, path.key(key)) {
                Some(text) if is_id && text.is_empty() => {
                    let message = "the `id` of this combination is empty; write one, or leave it out";
                    self.report.add("bad_id", value.at, path.key(key), message);
                    leg.whole = false;
                }
                Some(text) if is_id => leg.id = Some(text),
                Some(text) => leg.values.push((key.clone(), text)),
                None => leg.whole = false,
            }
        }
        leg
    }

    /// Reports each leg of `exclude` that no combination has all values of, whatever the values are that have a problem.
    fn excludes_something(&mut self, excluded: &[Written], axes: &[Axis<'_>], path: Path<'_>) {
        let set = |values: &Vec<String>| values.iter().cloned().collect::<BTreeSet<_>>();
        let sets: BTreeMap<_, _> = axes.iter().map(|axis| (axis.name, axis.values.as_ref().map(set))).collect();
        let possible = |(name, value): &(String, String)| match sets.get(name.as_str()) {
            Some(values) => values.as_ref().is_none_or(|values| values.contains(value)),
            // A name that can't be an axis's was reported as such.
            None => !is_axis_name(name),
        };
        for (n, leg) in excluded.iter().enumerate() {
            if axes.is_empty() && leg.whole || !leg.values.iter().all(possible) {
                let message = "no combination of the axes has these values; correct them, or remove this";
                self.report.add("excludes_nothing", leg.at, path.index(n), message);
            }
        }
    }

    fn distinct_variables(&mut self, names: &[String], at: Position, path: Path<'_>) {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(variable("MATRIX", name)) {
                let message =
                    format!("another axis has the variable {} too; rename one", quote(&variable("MATRIX", name)));
                self.report.add("same_variable", at, path.key(name), message);
            }
        }
    }

    /// The legs with their ids, which must differ and be ids of jobs.
    fn named(
        &mut self,
        names: &[String],
        legs: Vec<Written>,
        job: &str,
        at: Position,
        path: Path<'_>,
    ) -> Option<Vec<Leg>> {
        let legs: Vec<(Leg, Option<String>)> = legs
            .into_iter()
            .map(|leg| {
                let values = names.iter().map(|name| (name.clone(), leg.value(name).unwrap_or_default().to_owned()));
                (Leg { values: values.collect(), ..Leg::default() }, leg.id)
            })
            .collect();
        let differ = |axis: usize| legs.iter().any(|(leg, _)| leg.values[axis].1 != legs[0].0.values[axis].1);
        let differing: Vec<usize> = (0..names.len()).filter(|&axis| differ(axis)).collect();
        let telling = if differing.is_empty() { (0..names.len()).collect() } else { differing };
        let mut seen = BTreeSet::new();
        let mut with_ids = Vec::with_capacity(legs.len());
        for (mut leg, id) in legs {
            let values = telling.iter().map(|&axis| leg.values[axis].1.as_str()).collect::<Vec<_>>().join(",");
            let suffix = plain(&id.unwrap_or(values));
            let job_id = format!("{job}@{suffix}");
            if suffix.is_empty() {
                let axis = telling.first().map(|&axis| names[axis].as_str());
                self.report.add("bad_id", at, path, without_name(axis));
                return None;
            }
            if job_id.len() > limits::ID {
                let message = format!(
                    "the job of this combination would be {}; ids are at most {} bytes long (limit ID). List it under `include` with an `id`",
                    quote(&job_id),
                    limits::ID
                );
                self.report.add("bad_id", at, path, message);
                return None;
            }
            if !seen.insert(suffix.clone()) {
                let message = format!(
                    "two combinations would both be the job {}; change a value, or give one an `id` under `include`",
                    quote(&job_id)
                );
                self.report.add("duplicate_job", at, path, message);
                return None;
            }
            leg.suffix = Some(suffix);
            with_ids.push(leg);
        }
        Some(with_ids)
    }
}

fn is_axis_name(name: &str) -> bool {
    is_axis(name) && name != ID
}

/// The axes and what only included legs have.
fn names(axes: &[Axis<'_>], included: &[Written]) -> Vec<String> {
    let of_legs = included.iter().flat_map(|leg| &leg.values).map(|(name, _)| name.as_str());
    let mut seen = BTreeSet::new();
    axes.iter().map(|axis| axis.name).chain(of_legs).filter(|name| seen.insert(*name)).map(str::to_owned).collect()
}

/// The message about a combination whose values make no name: the value of this axis is empty, or it has none.
fn without_name(axis: Option<&str>) -> String {
    match axis.map(quote) {
        Some(axis) => format!(
            "the value of {axis} is empty in one combination, so that the combination has no name; write a value, or list the combination under `include` with an `id`"
        ),
        None => {
            "one combination has no values, so that it has no name; write a value for an axis, or an `id`".to_owned()
        }
    }
}

/// Every combination; the last axis changes first. None without axes.
fn combinations(axes: &[(&str, Vec<String>)], at: Position) -> Vec<Written> {
    if axes.is_empty() {
        return Vec::new();
    }
    let mut legs = vec![Vec::new()];
    for (axis, values) in axes {
        let with = |leg: &[(String, String)], value: &String| [leg, &[((*axis).to_owned(), value.clone())]].concat();
        legs = legs.iter().flat_map(|leg| values.iter().map(|value| with(leg, value)).collect::<Vec<_>>()).collect();
    }
    legs.into_iter().map(|values| Written { at, values, id: None, whole: true }).collect()
}

/// The text with `_` for each character that an id of a leg doesn't have.
fn plain(text: &str) -> String {
    let keeps = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '=' | '-' | ',');
    text.chars().map(|c| if keeps(c) { c } else { '_' }).collect()
}
