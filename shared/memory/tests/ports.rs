//! The store in memory does what every store must.

use memory::Memory;

conformance::port_tests!((Memory::new(), ()));
conformance::local_tests!((Memory::new(), ()));
