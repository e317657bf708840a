//! The phases of a simulation: faults with pauses in which everything ends, the drain without faults, and late requests.

use std::time::Duration;

use super::Sim;
use crate::world::Mode;

/// The time in which a run must end once no more faults happen.
const MAX_DRAIN_TIME: Duration = Duration::from_mins(150);
/// The largest number of steps. With more, something repeats without end.
const MAX_QUIESCE_STEPS: u32 = 20_000;
const MAX_DRAIN_STEPS: u32 = 60_000;

impl Sim {
    /// Lets everything that has begun end, and checks the state.
    fn quiesce(&mut self) {
        self.set_mode(Mode::Quiesce);
        let mut steps = 0;
        while !self.is_idle() && !self.is_broken() {
            self.step();
            steps += 1;
            if steps > MAX_QUIESCE_STEPS {
                return self.shared.world().broken(|_| "the system never becomes quiescent".to_owned());
            }
        }
        self.shared.world().check_quiescent();
        self.set_mode(Mode::Play);
    }

    /// The whole simulation.
    pub(crate) fn run(&mut self) {
        let (steps, mut quiesce_at) = {
            let mut world = self.shared.world();
            (world.rng.between(500, 4000), world.rng.between(50, 500))
        };
        for step in 0..steps {
            self.step();
            self.jump_clock();
            if step == quiesce_at {
                self.quiesce();
                quiesce_at += self.shared.world().rng.between(50, 500);
            }
            if self.is_broken() {
                return;
            }
        }
        self.actors.release_all_leases();
        self.quiesce();
        self.drain();
        if !self.is_broken() {
            self.shared.world().check_end();
            self.shared.world().check_forge_at_the_end();
            self.check_late_requests();
        }
    }

    fn jump_clock(&mut self) {
        let mut world = self.shared.world();
        let passes = match world.rng.share() {
            ..0.006 => world.rng.millis(1000, 30_000),
            ..0.0065 => world.rng.millis(30_000, 1_000_000),
            _ => return,
        };
        world.clock = world.clock + passes;
        world.log(|| "the clock jumps".to_owned());
    }

    /// One good worker completes the remaining jobs.
    fn drain(&mut self) {
        self.set_mode(Mode::Drain);
        self.actors.start_new_workflows();
        self.actors.wake_workers();
        self.start_requests();
        let began = self.shared.world().clock;
        self.shared.world().expected.drained_at = Some(began);
        self.shared.world().deliver_the_last();
        let mut steps = 0;
        while !self.is_broken() {
            let went_on = self.step();
            steps += 1;
            let world = self.shared.world();
            if steps > MAX_DRAIN_STEPS || world.clock.since(began) > MAX_DRAIN_TIME {
                return;
            }
            if went_on || !self.handlers.is_empty() || !world.feed.is_empty() {
                continue;
            }
            let is_told = world.linked.is_quiet() && world.forges_due().next().is_none();
            if world.unfinished().is_empty() && is_told {
                return;
            }
            drop(world);
            self.advance_clock();
        }
    }

    fn advance_clock(&mut self) {
        if !self.actors.wake_helper() {
            return;
        }
        let mut world = self.shared.world();
        let messages = world.messages.iter().map(|message| message.at);
        let forge = world.linked.arrivals().chain(world.forges_due());
        let next = messages.chain(forge).chain([self.next_sweep]).min();
        let latest = world.clock + Duration::from_secs(30);
        world.clock = next.map_or(latest, |next| next.clamp(world.clock, latest));
    }

    /// After the end: the remaining handlers, another report under every lease, and another claim of every worker. None of it may
    /// change anything.
    fn check_late_requests(&mut self) {
        self.actors.repeat_everything();
        self.start_requests();
        let mut steps = 0;
        while !self.is_idle() && !self.is_broken() {
            self.step();
            steps += 1;
            if steps > MAX_DRAIN_STEPS {
                return self.shared.world().broken(|_| "requests after the end never end".to_owned());
            }
            let mut world = self.shared.world();
            world.clock = world.clock + Duration::from_millis(100);
        }
    }
}
