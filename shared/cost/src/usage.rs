//! Counts of what AWS charges for.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Sub};

use serde::{Deserialize, Serialize};

use crate::prices::Prices;

/// Declares the counts, each with its price.
macro_rules! counts {
    ($($(#[$doc:meta])+ $name:ident: $price:ident,)+) => {
        /// Counts of what AWS charges for. Sums and products are field by field.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Usage {
            $($(#[$doc])+ pub $name: f64,)+
        }

        impl Usage {
            /// The price of all of it, in dollars.
            #[must_use]
            pub fn usd(&self, prices: &Prices) -> f64 {
                0.0 $(+ self.$name * prices.$price.usd)+
            }

            /// Every count with its name and its part of the price in dollars.
            #[must_use]
            pub fn parts(&self, prices: &Prices) -> Vec<(&'static str, f64, f64)> {
                vec![$((stringify!($name), self.$name, self.$name * prices.$price.usd),)+]
            }
        }

        impl Add for Usage {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self { $($name: self.$name + other.$name,)+ }
            }
        }

        impl Sub for Usage {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self { $($name: self.$name - other.$name,)+ }
            }
        }

        impl Mul<f64> for Usage {
            type Output = Self;
            fn mul(self, times: f64) -> Self {
                Self { $($name: self.$name * times,)+ }
            }
        }
    };
}

counts! {
    /// Requests to the HTTP API.
    http_requests: http_request,
    /// Invocations of functions.
    lambda_invocations: lambda_invocation,
    /// Billed time of functions times their memory.
    gb_seconds: lambda_gb_second,
    /// Write request units of tables and indexes.
    write_units: dynamodb_write_unit,
    /// Read request units of tables and indexes.
    read_units: dynamodb_read_unit,
    /// Requests to queues, one for each 64 KB.
    sqs_requests: sqs_request,
    /// PUT, COPY and LIST requests to the bucket.
    s3_puts: s3_put,
    /// GET and HEAD requests to the bucket.
    s3_gets: s3_get,
    /// Events of the bucket that go to `EventBridge`.
    events: eventbridge_event,
    /// Requests to the Parameter Store.
    ssm_requests: ssm_request,
    /// Decryptions of parameters.
    kms_requests: kms_request,
    /// Bytes of logs that `CloudWatch` ingests.
    log_bytes: log_byte,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_of_each_unit_costs_its_list_price() {
        let prices = Prices::us_east_1();
        let million = Usage { write_units: 1e6, read_units: 2e6, http_requests: 1e6, ..Usage::default() };
        assert!((million.usd(&prices) - (0.625 + 2.0 * 0.125 + 1.0)).abs() < 1e-9);
    }

    #[test]
    fn parts_add_up_to_the_price() {
        let prices = Prices::us_east_1();
        let some = Usage { gb_seconds: 3.0, sqs_requests: 7.0, log_bytes: 1e9, ..Usage::default() } * 2.0;
        let parts: f64 = some.parts(&prices).iter().map(|(_, _, usd)| usd).sum();
        assert!((some.usd(&prices) - parts).abs() < 1e-12);
    }
}
