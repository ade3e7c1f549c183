//! Why a flow is not given to a table.

use crate::error::excerpt;
use sluice_switch::ActionError;

/// Why a flow of Open vSwitch is not given to a table: its frames go to Open vSwitch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The text is none that Open vSwitch writes.
    #[error("its text is malformed at `{0}`")]
    Malformed(String),
    /// It matches a field that a key does not have, or has in another sense.
    #[error("it matches {0}, which no key has")]
    Field(String),
    /// It is for frames that come back from connection tracking, a tunnel, or another part of their way.
    #[error("its frames were in Open vSwitch before: {0}")]
    Recirculated(String),
    /// Its frames come in by a port that is not in the configuration.
    #[error("its frames come in by port {0} of Open vSwitch, which is none of ours")]
    InPort(u32),
    /// Its frames have headers that no key proves.
    #[error("its frames are such that a key proves too little: {0}")]
    Unproven(&'static str),
    /// A list of actions does not have this action.
    #[error("no list has the action `{0}`")]
    Action(String),
    /// It sends a frame more than once, or changes it behind an output.
    #[error("it sends a frame more than once, or acts on a frame behind its output")]
    Outputs,
    /// It sends frames by a port that is not in the configuration.
    #[error("it sends frames by port {0} of Open vSwitch, which is none of ours")]
    Output(u32),
    /// The actions are no list.
    #[error(transparent)]
    List(#[from] ActionError),
    /// Two threads of Open vSwitch have it with other masks or actions.
    #[error("threads of Open vSwitch have it in different ways")]
    Differs,
}

impl Refusal {
    pub(crate) fn malformed(text: &str) -> Self {
        Self::Malformed(excerpt(text))
    }

    pub(crate) fn field(text: &str) -> Self {
        Self::Field(excerpt(text))
    }

    pub(crate) fn action(text: &str) -> Self {
        Self::Action(excerpt(text))
    }
}
