//! The price list, `infra/prices.json`.

use serde::{Deserialize, Serialize};

/// A price and its source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// Dollars for one unit.
    pub usd: f64,
    /// The unit, as AWS names it.
    pub unit: String,
    /// Where the price was found.
    pub source: String,
    /// True if the price was found on a stored page. False if it is from memory and must be checked.
    pub found: bool,
}

/// List prices of one region, without free tiers and volume discounts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// The region.
    pub region: String,
    /// The day on which the sources were read.
    pub date: String,
    /// A request to an HTTP API, of up to 512 KB.
    pub http_request: Price,
    /// An invocation of a function.
    pub lambda_invocation: Price,
    /// A second of a function with 1 GB, on arm64.
    pub lambda_gb_second: Price,
    /// A write request unit, on demand.
    pub dynamodb_write_unit: Price,
    /// A read request unit, on demand.
    pub dynamodb_read_unit: Price,
    /// A request to a standard queue.
    pub sqs_request: Price,
    /// A PUT, COPY, POST or LIST request.
    pub s3_put: Price,
    /// A GET or HEAD request.
    pub s3_get: Price,
    /// An event of S3 on the default bus.
    pub eventbridge_event: Price,
    /// A request for standard parameters at the standard rate.
    pub ssm_request: Price,
    /// A request to KMS.
    pub kms_request: Price,
    /// A byte that `CloudWatch` Logs ingests.
    pub log_byte: Price,
    /// A state transition of Step Functions Standard, for comparison.
    pub step_functions_transition: Price,
}

impl Prices {
    /// The price list of this repository.
    ///
    /// # Panics
    /// If the file isn't what this program was tested with.
    #[must_use]
    pub fn us_east_1() -> Self {
        serde_json::from_str(include_str!("../../../infra/prices.json")).expect("a test reads the same file")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_list_can_be_read_and_names_its_region_and_day() {
        let prices = Prices::us_east_1();
        assert_eq!(prices.region, "us-east-1");
        assert_eq!(prices.date.len(), "2026-01-01".len());
    }
}
