//! Stacks of any graph: their members are alike, and the order of the jobs is no matter.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use engine::stacks::{LEAST, Node, Stack, find};
use proptest::prelude::*;

/// A job: name, labels, needs.
type Job = (String, u32, Vec<u32>);

fn stacks(jobs: &[Job]) -> Vec<Stack> {
    let nodes: Vec<Node<'_>> = jobs.iter().map(|(name, labels, needs)| Node { name, labels: *labels, needs }).collect();
    find(&nodes)
}

fn at(n: usize) -> u32 {
    u32::try_from(n).expect("a small graph")
}

/// The number of boxes: stacks, and jobs in none.
fn boxes(jobs: &[Job]) -> usize {
    let stacks = stacks(jobs);
    jobs.len() - stacks.iter().map(|stack| stack.members.len()).sum::<usize>() + stacks.len()
}

/// One job, `width` jobs that need it, and one that needs them.
fn fan(width: usize) -> Vec<Job> {
    let mut jobs = vec![("plan".to_owned(), 0, Vec::new())];
    jobs.extend((1..=width).map(|n| (format!("shard-{n}"), 0, vec![0])));
    jobs.push(("merge".to_owned(), 0, (1..=width).map(at).collect()));
    jobs
}

/// Chains of jobs beside each other.
fn lanes(count: usize, length: usize) -> Vec<Job> {
    let lane = |lane: usize| {
        (0..length).map(move |step| {
            let needs = if step == 0 { Vec::new() } else { vec![at(lane * length + step - 1)] };
            (format!("lane-{lane}-step-{step}"), 0, needs)
        })
    };
    (0..count).flat_map(lane).collect()
}

#[test]
fn fan_of_10_000_jobs_is_three_boxes() {
    let jobs = fan(9_998);
    let begun = Instant::now();
    let found = stacks(&jobs);
    eprintln!("a fan of 10,000 jobs: {} ms", begun.elapsed().as_millis());
    assert_eq!((found.len(), found[0].name.as_str(), found[0].members.len()), (1, "shard-*", 9_998));
    assert_eq!(boxes(&jobs), 3);
}

#[test]
fn lanes_are_as_many_boxes_as_one_of_them() {
    let jobs = lanes(100, 100);
    let begun = Instant::now();
    assert_eq!(boxes(&jobs), 100);
    eprintln!("100 lanes of 100 jobs: {} ms", begun.elapsed().as_millis());
}

#[test]
fn one_odd_lane_of_100_stays_out() {
    let mut jobs = lanes(100, 100);
    jobs.push(("audit".to_owned(), 0, vec![99]));
    let found = stacks(&jobs);
    assert_eq!(found.len(), 100);
    assert!(found.iter().all(|stack| stack.members.len() == 99 && !stack.members.iter().any(|job| *job < 100)));
    assert_eq!(boxes(&jobs), 100 + 100 + 1);
    let mut long = lanes(10, 1000);
    long.push(("audit".to_owned(), 0, vec![500]));
    assert_eq!(boxes(&long), 1000 + 1000 + 1, "the difference is carried the whole way");
}

#[test]
fn three_jobs_are_not_a_stack_and_other_labels_or_words_are_not_alike() {
    assert_eq!((boxes(&fan(3)), boxes(&fan(4))), (5, 3));
    let mut jobs = fan(8);
    for job in &mut jobs[1..5] {
        job.1 = 1;
    }
    assert_eq!(boxes(&jobs), 4);
    for job in &mut jobs[1..5] {
        job.0 = job.0.replace("shard", "part");
        job.1 = 0;
    }
    assert_eq!(boxes(&jobs), 4);
}

#[test]
fn jobs_whose_needs_are_shown_one_by_one_are_alike_only_if_they_need_the_same_ones() {
    let mut jobs: Vec<Job> = (0..3).map(|n| (format!("build-{n}"), 0, Vec::new())).collect();
    jobs.extend((0..30).map(|n| (format!("test-{n}"), 0, vec![at(n % 3)])));
    let found = stacks(&jobs);
    assert_eq!(found.iter().map(|stack| stack.members.len()).collect::<Vec<_>>(), [10, 10, 10]);
}

#[test]
fn name_of_a_stack_keeps_the_numbers_that_all_its_jobs_have() {
    let jobs: Vec<Job> = (7..15).map(|n| (format!("py3-ü-{n}"), 0, Vec::new())).collect();
    assert_eq!(stacks(&jobs)[0].name, "py3-ü-*");
    let same: Vec<Job> = (0..4).map(|_| ("lint".to_owned(), 0, Vec::new())).collect();
    assert_eq!(stacks(&same)[0].name, "lint");
}

#[test]
fn cycle_and_unknown_needs_give_no_stacks_and_no_panic() {
    let cycle: Vec<Job> = (0..8).map(|n| (format!("j{n}"), 0, vec![(n + 1) % 8])).collect();
    assert!(stacks(&cycle).is_empty());
    let unknown: Vec<Job> = (0..8).map(|n| (format!("j{n}"), 0, vec![99])).collect();
    assert_eq!(stacks(&unknown).len(), 1);
    assert!(stacks(&[]).is_empty());
}

/// Graphs with few different names and short needs, so that many jobs are alike.
fn graphs() -> impl Strategy<Value = Vec<Job>> {
    let job = (0..3_usize, 0..9_u32, 0..2_u32, prop::collection::vec(1..6_usize, 0..3));
    prop::collection::vec(job, 0..40).prop_map(|jobs| {
        let of = |(index, (name, number, labels, back)): (usize, (usize, u32, u32, Vec<usize>))| {
            let needs: BTreeSet<u32> = back.iter().filter_map(|back| index.checked_sub(*back)).map(at).collect();
            (format!("{}-{number}", ["build", "test", "ship"][name]), labels, needs.into_iter().collect())
        };
        jobs.into_iter().enumerate().map(of).collect()
    })
}

/// The box of each job: its stack, or itself.
fn box_of(jobs: &[Job], stacks: &[Stack]) -> Vec<usize> {
    let mut boxes: Vec<usize> = (0..jobs.len()).collect();
    for stack in stacks {
        for &member in &stack.members {
            boxes[member] = stack.members[0];
        }
    }
    boxes
}

/// The boxes that a job needs, and those that need it.
type Around = (BTreeSet<usize>, BTreeSet<usize>);

fn around(jobs: &[Job], boxes: &[usize]) -> Vec<Around> {
    let mut around = vec![Around::default(); jobs.len()];
    for (job, (_, _, needs)) in jobs.iter().enumerate() {
        for need in needs.iter().map(|&need| need as usize) {
            around[job].0.insert(boxes[need]);
            around[need].1.insert(boxes[job]);
        }
    }
    around
}

proptest! {
    #[test]
    fn members_of_a_stack_are_alike(jobs in graphs()) {
        let found = stacks(&jobs);
        let boxes = box_of(&jobs, &found);
        let around = around(&jobs, &boxes);
        let plain = |name: &str| name.trim_end_matches(|last: char| last.is_ascii_digit()).to_owned();
        let mut members = BTreeSet::new();
        for stack in &found {
            prop_assert!(stack.members.len() >= LEAST);
            let first = stack.members[0];
            for &member in &stack.members {
                prop_assert!(members.insert(member), "job {member} is in two stacks");
                prop_assert_eq!(plain(&jobs[member].0), plain(&jobs[first].0));
                prop_assert_eq!(jobs[member].1, jobs[first].1);
                prop_assert_eq!(&around[member], &around[first], "{} and {}", member, first);
            }
        }
    }

    #[test]
    fn order_of_the_jobs_is_no_matter((jobs, order) in graphs().prop_flat_map(|jobs| {
        let order = Just((0..jobs.len()).collect::<Vec<usize>>()).prop_shuffle();
        (Just(jobs), order)
    })) {
        let mut place = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            place[old] = new;
        }
        let moved: Vec<Job> = order
            .iter()
            .map(|&old| {
                let (name, labels, needs) = &jobs[old];
                (name.clone(), *labels, needs.iter().map(|&need| at(place[need as usize])).collect())
            })
            .collect();
        let by_members = |stacks: Vec<Stack>, place: &dyn Fn(usize) -> usize| -> BTreeMap<BTreeSet<usize>, String> {
            stacks.into_iter().map(|stack| (stack.members.into_iter().map(place).collect(), stack.name)).collect()
        };
        prop_assert_eq!(by_members(stacks(&moved), &|new| order[new]), by_members(stacks(&jobs), &|old| old));
    }
}
