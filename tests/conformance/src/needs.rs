//! Checks of data that is stored beside a job's record because it is large: specs, and shards of many needs.

use std::sync::Arc;

use engine::ids::{JobKey, Waits};
use engine::job::JobSpec;
use engine::ports::{Consistency, NewItem, Ports, ShardWaits};

use crate::fixture::{at_once, fresh_labels, fresh_run, job_now, spec, waiting};

/// Specs from 1 KB to 1 MB, and a definition of 1 MB.
pub async fn large_specs_are_read_in_the_requested_order<P: Ports + 'static>(ports: Arc<P>) {
    let labels = fresh_labels();
    let run = fresh_run();
    let sized = |bytes: usize| {
        let mut spec = spec(&labels);
        spec.settings.script = "é#\n".repeat(bytes / 4);
        spec
    };
    let specs: Vec<JobSpec> = [1_000, 60_000, 390_000, 1_000_000].map(sized).into();
    for (index, spec) in (0..).zip(&specs) {
        let mut job = waiting(&run, index, &[], &labels);
        job.spec = None;
        let items = vec![NewItem::Spec(job.key.clone(), Box::new(spec.clone())), NewItem::Job(Box::new(job.clone()))];
        ports.put_new(items).await.expect("the store answers");
        assert_eq!(job_now(&*ports, &job.key).await, Some(job));
    }
    let found = ports.specs(&run, &[2, 0, 3, 1]).await.expect("the store answers");
    let expected: Vec<JobSpec> = [2, 0, 3, 1].map(|index: usize| specs[index].clone()).into();
    assert!(found == expected, "the specs aren't as they were written, or in another order");
    assert_eq!(ports.specs(&run, &[]).await.expect("the store answers"), []);
}

/// Each removal returns the remaining members. Removing an absent member, or one of an absent shard, changes nothing. The
/// removal of a failed need sets the shard's flag, which stays.
pub async fn shard_member_is_removed_once<P: Ports + 'static>(ports: Arc<P>) {
    let run = fresh_run();
    let key = JobKey::new(&run, 300);
    let other = JobKey::new(&run, 30);
    let members: Waits = (1000..1200).collect();
    let put = vec![
        NewItem::WaitShard(key.clone(), 0, members.clone()),
        NewItem::WaitShard(key.clone(), 1, [5].into()),
        NewItem::WaitShard(other.clone(), 0, [1, 2].into()),
    ];
    ports.put_new(put).await.expect("the store answers");
    let shard =
        async |key: &JobKey, shard| ports.wait_shard(key, shard, Consistency::Strong).await.expect("the store answers");
    let drop_as = async |shard, member, failed| {
        ports.drop_from_shard(&key, shard, member, failed).await.expect("the store answers")
    };
    let drop = async |shard, member| drop_as(shard, member, false).await;
    let passed = |members: &Waits| ShardWaits { members: members.clone(), need_failed: false };
    let empty = ShardWaits::default();
    assert_eq!(shard(&key, 0).await, passed(&members));
    assert_eq!(shard(&key, 2).await, empty, "one that was never there");
    let left: Waits = members.iter().copied().filter(|member| *member != 1007).collect();
    for _ in 0..2 {
        assert_eq!(drop(0, 1007).await, passed(&left));
        assert_eq!(shard(&key, 0).await, passed(&left));
    }
    assert_eq!(drop(0, 7).await, passed(&left), "it was never a member");
    assert_eq!(drop(1, 5).await, empty);
    assert_eq!(drop(1, 5).await, empty, "the last one, again");
    assert_eq!(drop_as(2, 5, true).await, empty);
    assert_eq!(shard(&key, 1).await, empty);
    assert_eq!(shard(&other, 0).await, passed(&[1, 2].into()), "another job's");
    let failed = |members: &[u32]| ShardWaits { members: members.iter().copied().collect(), need_failed: true };
    let of_three = JobKey::new(&run, 31);
    ports.put_new(vec![NewItem::WaitShard(of_three.clone(), 0, [1, 2, 3].into())]).await.expect("the store answers");
    for (member, is_failed, expected) in [(2, true, &[1, 3][..]), (1, false, &[3]), (3, true, &[])] {
        let answer = ports.drop_from_shard(&of_three, 0, member, is_failed).await.expect("the store answers");
        assert_eq!(answer, failed(expected), "after {member}");
        assert_eq!(shard(&of_three, 0).await, failed(expected), "after {member}");
    }
    let answers = at_once(left.iter().skip(1).copied().map(|member| {
        let (ports, key) = (Arc::clone(&ports), key.clone());
        async move {
            let left = ports.drop_from_shard(&key, 0, member, false).await.expect("the store answers");
            left.members.contains(&member)
        }
    }))
    .await;
    assert!(answers.iter().all(|there| !there), "dropped, and not left");
    assert_eq!(shard(&key, 0).await, passed(&[1000].into()), "of many dropped at once, none is left");
}
