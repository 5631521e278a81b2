use clap::ValueEnum;

/// A network for commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Network {
    /// A private network: it reaches the outside, but not this machine's loopback or local link
    Default,
    /// Loopback only
    None,
    /// This machine's network
    Host,
}

/// Something that is done or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

impl From<Network> for otoshi_engine::Network {
    fn from(network: Network) -> Self {
        match network {
            Network::Default => Self::Own,
            Network::None => Self::None,
            Network::Host => Self::Host,
        }
    }
}
