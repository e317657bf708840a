//! The graph of needs: topological order and cycles.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::JobDefinition;

/// The positions of `jobs` so that each comes after all it needs; among those that could come next, the first of the
/// file does. Only for checked definitions: jobs in or behind a cycle are left out.
#[must_use]
pub fn topological_order(jobs: &[JobDefinition]) -> Vec<usize> {
    let mut dependents = vec![Vec::new(); jobs.len()];
    let mut open: Vec<usize> = jobs.iter().map(|job| job.needs.len()).collect();
    for (n, job) in jobs.iter().enumerate() {
        for &need in &job.needs {
            dependents[need].push(n);
        }
    }
    let mut ready: BinaryHeap<_> = (0..jobs.len()).filter(|&n| open[n] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(jobs.len());
    while let Some(Reverse(n)) = ready.pop() {
        order.push(n);
        for &dependent in &dependents[n] {
            open[dependent] -= 1;
            if open[dependent] == 0 {
                ready.push(Reverse(dependent));
            }
        }
    }
    order
}

/// One cycle of each group of jobs that all need one another, the shortest through its first job, which comes first.
pub(super) fn cycles(needs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let group = groups(needs);
    let mut seen = vec![false; needs.len()];
    let mut size = vec![0; needs.len()];
    for &g in &group {
        size[g] += 1;
    }
    let mut cycles = Vec::new();
    for first in 0..needs.len() {
        if size[group[first]] > 1 && !std::mem::replace(&mut seen[group[first]], true) {
            cycles.push(shortest(needs, &group, first));
        }
    }
    cycles
}

/// The shortest way from `first` back to it, within its group.
fn shortest(needs: &[Vec<usize>], group: &[usize], first: usize) -> Vec<usize> {
    let mut before = vec![usize::MAX; needs.len()];
    let mut queue = VecDeque::from([first]);
    while let Some(n) = queue.pop_front() {
        for &need in needs[n].iter().filter(|&&need| group[need] == group[first]) {
            if need == first {
                let mut way = vec![n];
                while way[way.len() - 1] != first {
                    way.push(before[way[way.len() - 1]]);
                }
                way.reverse();
                return way;
            }
            if before[need] == usize::MAX {
                before[need] = n;
                queue.push_back(need);
            }
        }
    }
    vec![first]
}

/// For each job the number of its strongly connected component: Tarjan's algorithm, with a stack of its own instead
/// of recursion, since a chain may be ten thousand jobs long.
fn groups(needs: &[Vec<usize>]) -> Vec<usize> {
    const NEW: usize = usize::MAX;
    let (mut index, mut low) = (vec![NEW; needs.len()], vec![0; needs.len()]);
    let mut group = vec![NEW; needs.len()];
    let (mut counter, mut found) = (0, 0);
    let (mut component, mut calls) = (Vec::new(), Vec::new());
    for root in 0..needs.len() {
        if index[root] == NEW {
            calls.push((root, 0));
        }
        while let Some((n, next)) = calls.pop() {
            if next == 0 {
                (index[n], low[n]) = (counter, counter);
                counter += 1;
                component.push(n);
            } else {
                low[n] = low[n].min(low[needs[n][next - 1]]);
            }
            let mut rest = needs[n].iter().enumerate().skip(next);
            let descend = rest.find_map(|(i, &need)| {
                if index[need] == NEW {
                    return Some((i, need));
                }
                if group[need] == NEW {
                    low[n] = low[n].min(index[need]);
                }
                None
            });
            if let Some((i, need)) = descend {
                calls.push((n, i + 1));
                calls.push((need, 0));
            } else if low[n] == index[n] {
                while let Some(member) = component.pop() {
                    group[member] = found;
                    if member == n {
                        break;
                    }
                }
                found += 1;
            }
        }
    }
    group
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_independent_cycle_is_found_once_from_its_first_job() {
        // 0 <-> 2, 1 alone, 3 -> 4 -> 5 -> 3 with a longer way round by 6.
        let needs = [vec![2], vec![0], vec![0, 1], vec![6, 4], vec![5], vec![3], vec![4]];
        assert_eq!(cycles(&needs), [vec![0, 2], vec![3, 4, 5]]);
    }

    fn graphs() -> impl Strategy<Value = Vec<Vec<usize>>> {
        (1usize..9).prop_flat_map(|size| {
            proptest::collection::vec(proptest::collection::btree_set(0..size, 0..3), size).prop_map(|needs| {
                let others = |(n, needs): (usize, std::collections::BTreeSet<usize>)| {
                    needs.into_iter().filter(|&need| need != n).collect()
                };
                needs.into_iter().enumerate().map(others).collect()
            })
        })
    }

    /// By Floyd and Warshall, which have nothing in common with the above.
    fn reaches(needs: &[Vec<usize>]) -> Vec<Vec<bool>> {
        let mut reach: Vec<Vec<bool>> =
            needs.iter().map(|needs_of| (0..needs.len()).map(|n| needs_of.contains(&n)).collect()).collect();
        for via in 0..needs.len() {
            for from in 0..needs.len() {
                for to in 0..needs.len() {
                    reach[from][to] |= reach[from][via] && reach[via][to];
                }
            }
        }
        reach
    }

    proptest! {
        #[test]
        fn cycles_are_cycles_and_none_is_missed(needs in graphs()) {
            let reach = reaches(&needs);
            let cycles = cycles(&needs);
            for cycle in &cycles {
                for (n, job) in cycle.iter().enumerate() {
                    prop_assert!(needs[*job].contains(&cycle[(n + 1) % cycle.len()]), "{:?}", cycle);
                }
            }
            for (job, reached) in reach.iter().enumerate() {
                let same = |other: usize| other == job || (reached[other] && reach[other][job]);
                let found = cycles.iter().filter(|cycle| same(cycle[0])).count();
                prop_assert_eq!(found, usize::from(reached[job]), "job {}: {:?}", job, cycles);
            }
        }
    }
}
