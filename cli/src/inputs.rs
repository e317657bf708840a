//! The option `-f NAME=VALUE`: values for the inputs of a workflow.

use clap::Args;
use protocol::requests::GivenInputs;
use workflow::{Definition, resolve_inputs};

use crate::failure::Failure;
use crate::screen::eprint;
use crate::text::{clean, count};

/// Values for inputs.
#[derive(Args)]
pub struct InputsArg {
    /// Give an input a value; may be repeated
    #[arg(short = 'f', long = "input", value_name = "NAME=VALUE", value_parser = pair)]
    inputs: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl InputsArg {
    /// The values by name.
    pub fn given(&self) -> Result<GivenInputs, Failure> {
        let mut given = GivenInputs::new();
        for (name, value) in &self.inputs {
            if given.insert(name.clone(), value.as_str().into()).is_some() {
                return Err(Failure::Usage(format!("the input `{}` is given twice.", clean(name))));
            }
        }
        Ok(given)
    }

    /// The values by name, if they are good for this definition. Shows all their problems otherwise.
    pub fn checked(&self, definition: &Definition, consequence: &str) -> Result<GivenInputs, Failure> {
        let given = self.given()?;
        let Err(problems) = resolve_inputs(&definition.inputs, &given) else { return Ok(given) };
        for problem in &problems {
            eprint(&clean(&format!("error[{}]: {}", problem.code, problem.message)));
        }
        eprint(&format!("{}; {consequence}", count(problems.len(), "problem")));
        Err(Failure::AlreadyReported)
    }
}
