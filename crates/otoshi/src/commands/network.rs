use clap::ValueEnum;

/// A network for commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Network {
    /// One of their own: they reach the outside, and neither this machine's loopback nor its link
    Default,
    /// A loopback device only
    None,
    /// This machine's
    Host,
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
