//! Which routes a program answers, decided when it is compiled: it then contains the handlers of no other routes.

use crate::operation::{Operation, Schemas};
use crate::route::{Function, Route};

/// The routes that a program answers.
pub trait Part {
    /// Whether a function's routes are answered.
    const ANSWERS: Answers;
}

/// Whose routes are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Those of all functions.
    All,
    /// Those of one function.
    Only(Function),
    /// None: the routes are only described.
    None,
}

impl Answers {
    /// Whether it answers this route, which is forgotten: a value with a destructor can't end while the program is compiled.
    pub(crate) const fn includes(self, route: Route) -> bool {
        let function = route.function;
        std::mem::forget(route);
        match self {
            Self::All => true,
            Self::Only(only) => only as u8 == function as u8,
            Self::None => false,
        }
    }

    /// The route as a program with these answers keeps it. Only the one that answers none keeps its description.
    pub(crate) const fn keep(self, mut route: Route) -> Route {
        if !matches!(self, Self::None) {
            route.describe = undescribed;
        }
        route
    }
}

fn undescribed(_: &mut Schemas) -> Operation {
    Operation::default()
}

macro_rules! parts {
    ($($(#[$doc:meta])* $name:ident = $answers:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $name {}

            impl Part for $name {
                const ANSWERS: Answers = $answers;
            }
        )*
    };
}

parts! {
    /// All routes, in one process.
    Whole = Answers::All;
    /// The routes of [`Function::Submit`].
    Submit = Answers::Only(Function::Submit);
    /// The routes of [`Function::Claim`].
    Claim = Answers::Only(Function::Claim);
    /// The routes of [`Function::Complete`].
    Complete = Answers::Only(Function::Complete);
    /// The routes of [`Function::Hook`].
    Hook = Answers::Only(Function::Hook);
    /// The routes of [`Function::Query`].
    Query = Answers::Only(Function::Query);
    /// No routes. The table with their descriptions.
    Described = Answers::None;
}
