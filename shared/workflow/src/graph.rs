//! The graph of needs: topological order and cycles.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

/// The positions of jobs so that each comes after all it needs. Among those that could come next, the first one does.
/// Jobs in or behind a cycle are left out.
pub(super) fn topological_order(needs: &[&[usize]]) -> Vec<usize> {
    let mut dependents = vec![Vec::new(); needs.len()];
    let mut open: Vec<usize> = needs.iter().map(|needs| needs.len()).collect();
    for (n, needs) in needs.iter().enumerate() {
        for &need in *needs {
            dependents[need].push(n);
        }
    }
    let mut ready: BinaryHeap<_> = (0..needs.len()).filter(|&n| open[n] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(needs.len());
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

/// One cycle of each group of jobs that all need one another: the shortest through its first job, which comes first.
pub(super) fn cycles(needs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let index = |n: usize| NodeIndex::<u32>::new(n);
    let edges = needs.iter().enumerate().flat_map(|(n, needs)| needs.iter().map(move |&need| (index(n), index(need))));
    let graph = DiGraph::<(), ()>::from_edges(edges);
    let mut cycles = Vec::new();
    for group in kosaraju_scc(&graph).into_iter().filter(|group| group.len() > 1) {
        let members: HashSet<usize> = group.into_iter().map(NodeIndex::index).collect();
        cycles.extend(members.iter().min().map(|&first| shortest(needs, &members, first)));
    }
    cycles.sort_unstable_by_key(|cycle| cycle[0]);
    cycles
}

/// The shortest path from `first` back to it, through `members` only.
fn shortest(needs: &[Vec<usize>], members: &HashSet<usize>, first: usize) -> Vec<usize> {
    let mut before = vec![usize::MAX; needs.len()];
    let mut queue = VecDeque::from([first]);
    while let Some(n) = queue.pop_front() {
        for &need in needs[n].iter().filter(|need| members.contains(need)) {
            if need == first {
                let mut path = vec![n];
                while path[path.len() - 1] != first {
                    path.push(before[path[path.len() - 1]]);
                }
                path.reverse();
                return path;
            }
            if before[need] == usize::MAX {
                before[need] = n;
                queue.push_back(need);
            }
        }
    }
    vec![first]
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
