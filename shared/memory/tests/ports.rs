//! Runs the conformance suite against the store in memory.

use memory::Memory;

conformance::port_tests!((Memory::new(), ()));
conformance::local_tests!((Memory::new(), ()));
