//! Finds stacks: jobs of a graph that look alike, so that a graph of thousands of jobs can be shown as a few boxes. Pure.
//!
//! Jobs are alike if they have the same name but for its digits, the same labels, and needs and dependents that are alike. This is the
//! coarsest stable partition of the graph. Sweeps along and against the needs find it: a sweep carries a difference the whole
//! way, while rounds over all jobs would carry it one edge each.

use std::collections::{BTreeMap, HashMap};

/// The least number of jobs in a stack. Fewer are shown one by one.
pub const LEAST: usize = 4;
/// Sweeps after which no stacks are shown. Graphs that people write need 2 to 7.
const SWEEPS: usize = 20;

/// A job, as far as its stack depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node<'a> {
    /// The name.
    pub name: &'a str,
    /// A number that stands for the labels.
    pub labels: u32,
    /// The indexes of the jobs that it needs. Those that name no job are ignored.
    pub needs: &'a [u32],
}

/// Jobs that look alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// The name of all its jobs, with `*` for each number that isn't the same in all.
    pub name: String,
    /// The indexes of the jobs, ascending.
    pub members: Vec<usize>,
}

/// Returns the stacks in the order of their first jobs. Returns none if the graph has a cycle, or isn't divided after 20 sweeps.
#[must_use]
pub fn find(jobs: &[Node<'_>]) -> Vec<Stack> {
    let graph = Edges::of(jobs);
    let Some(colours) = graph.order().and_then(|order| stable(jobs, &graph, &order)) else { return Vec::new() };
    let mut stacks: Vec<Stack> = members(&colours)
        .into_values()
        .filter(|members| members.len() >= LEAST)
        .map(|members| Stack { name: name(members.iter().map(|&at| jobs[at].name)), members })
        .collect();
    stacks.sort_by_key(|stack| stack.members[0]);
    stacks
}

/// The needs and the dependents of each job.
struct Edges {
    needs: Vec<Vec<usize>>,
    dependents: Vec<Vec<usize>>,
}

impl Edges {
    fn of(jobs: &[Node<'_>]) -> Self {
        let known = |need: &u32| usize::try_from(*need).ok().filter(|need| *need < jobs.len());
        let needs: Vec<Vec<usize>> = jobs.iter().map(|job| job.needs.iter().filter_map(known).collect()).collect();
        let mut dependents = vec![Vec::new(); jobs.len()];
        for (job, needs) in needs.iter().enumerate() {
            for &need in needs {
                dependents[need].push(job);
            }
        }
        Self { needs, dependents }
    }

    /// The jobs in an order in which each comes after all that it needs. `None` if there is a cycle.
    fn order(&self) -> Option<Vec<usize>> {
        let mut open: Vec<usize> = self.needs.iter().map(Vec::len).collect();
        let mut order: Vec<usize> = (0..open.len()).filter(|&job| open[job] == 0).collect();
        let mut at = 0;
        while let Some(&job) = order.get(at) {
            for &dependent in &self.dependents[job] {
                open[dependent] -= 1;
                if open[dependent] == 0 {
                    order.push(dependent);
                }
            }
            at += 1;
        }
        (order.len() == open.len()).then_some(order)
    }
}

/// Gives each key a number, the same key the same number.
struct Numbers<K>(HashMap<K, usize>);

impl<K: Eq + std::hash::Hash> Numbers<K> {
    fn new() -> Self {
        Self(HashMap::new())
    }

    fn of(&mut self, key: K) -> usize {
        let next = self.0.len();
        *self.0.entry(key).or_insert(next)
    }
}

/// The class of each job, once no sweep divides a class, and each job in a class of fewer than [`LEAST`] has its own.
fn stable(jobs: &[Node<'_>], graph: &Edges, order: &[usize]) -> Option<Vec<usize>> {
    let mut depth = vec![0_usize; jobs.len()];
    for &job in order {
        depth[job] = graph.needs[job].iter().map(|&need| depth[need] + 1).max().unwrap_or(0);
    }
    let mut numbers = Numbers::new();
    let mut colours: Vec<usize> = jobs
        .iter()
        .zip(&depth)
        .map(|(job, depth)| numbers.of((pieces(job.name).map(plain).collect::<Vec<_>>(), job.labels, *depth)))
        .collect();
    let mut count = numbers.0.len();
    let mut unchanged = 0;
    for sweep in 0..SWEEPS {
        let (next, next_count) = if sweep % 2 == 0 {
            divided(&colours, &graph.needs, order.iter())
        } else {
            divided(&colours, &graph.dependents, order.iter().rev())
        };
        unchanged = if next_count == count { unchanged + 1 } else { 0 };
        (colours, count) = (next, next_count);
        if unchanged < 2 {
            continue;
        }
        // Members of a class that is shown one by one are different for their neighbours.
        let (apart, apart_count) = with_small_classes_apart(&colours);
        if apart_count == count {
            return Some(colours);
        }
        (colours, count, unchanged) = (apart, apart_count, 0);
    }
    None
}

/// Divides each class by the new classes of its members' neighbours, which come before them in `order`.
fn divided<'a>(
    colours: &[usize],
    neighbours: &[Vec<usize>],
    order: impl Iterator<Item = &'a usize>,
) -> (Vec<usize>, usize) {
    let mut numbers = Numbers::new();
    let mut next = vec![0; colours.len()];
    for &job in order {
        let mut beside: Vec<usize> = neighbours[job].iter().map(|&other| next[other]).collect();
        beside.sort_unstable();
        beside.dedup();
        next[job] = numbers.of((colours[job], beside));
    }
    (next, numbers.0.len())
}

fn with_small_classes_apart(colours: &[usize]) -> (Vec<usize>, usize) {
    let sizes = members(colours);
    let mut numbers = Numbers::new();
    let apart = colours.iter().enumerate().map(|(job, colour)| {
        let alone = sizes[colour].len() < LEAST;
        numbers.of((*colour, alone.then_some(job)))
    });
    let apart = apart.collect();
    (apart, numbers.0.len())
}

fn members(colours: &[usize]) -> BTreeMap<usize, Vec<usize>> {
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (job, colour) in colours.iter().enumerate() {
        members.entry(*colour).or_default().push(job);
    }
    members
}

/// The name's runs of digits and the texts between them.
fn pieces(name: &str) -> impl Iterator<Item = &str> {
    name.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit()).scan(0, move |from, piece| {
        let begin = *from;
        *from += piece.len();
        // A digit is one byte, so that a piece begins and ends between characters.
        Some(&name[begin..*from])
    })
}

/// A piece of a name as it is compared: all numbers are the same.
fn plain(piece: &str) -> &str {
    if is_number(piece) { "0" } else { piece }
}

fn is_number(piece: &str) -> bool {
    piece.starts_with(|first: char| first.is_ascii_digit())
}

/// The common name of jobs whose names are the same but for their digits.
fn name<'a>(mut names: impl Iterator<Item = &'a str>) -> String {
    let mut common: Vec<&str> = names.next().map(|name| pieces(name).collect()).unwrap_or_default();
    for name in names {
        for (common, piece) in common.iter_mut().zip(pieces(name)) {
            if *common != piece {
                *common = "*";
            }
        }
    }
    common.concat()
}
